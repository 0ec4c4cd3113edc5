using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Management.Automation;

namespace SecretBridge;

/// <summary>What is inside an exception, and what of it the core tells apart by.</summary>
public static class Causes
{
    /// <summary>So many exceptions are looked through.</summary>
    private const int Most = 32;

    /// <summary>The exception and all inside it, the outer ones first.</summary>
    public static IEnumerable<Exception> Of(Exception exception)
    {
        Queue<Exception> left = new([exception]);
        for (int seen = 0; seen < Most && left.TryDequeue(out Exception? at); seen++)
        {
            yield return at;
            foreach (Exception inside in Inside(at))
            {
                left.Enqueue(inside);
            }
        }
    }

    /// <summary>Whether there was no room on a disk.</summary>
    public static bool IsDiskFull(Exception exception) => Of(exception).Any(at => at is IOException && Platform.IsDiskFull(at.HResult));

    private static IEnumerable<Exception> Inside(Exception exception)
    {
        if (exception is AggregateException many)
        {
            foreach (Exception one in many.InnerExceptions.Take(Most))
            {
                yield return one;
            }
        }
        else if (exception.InnerException is Exception inner)
        {
            yield return inner;
        }
        // PowerShell's own exceptions hold what was thrown in their record.
        if (exception is IContainsErrorRecord { ErrorRecord.Exception: Exception held } && held != exception)
        {
            yield return held;
        }
    }
}
