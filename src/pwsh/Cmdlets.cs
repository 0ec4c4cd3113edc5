using System;
using System.Collections;
using System.Collections.Generic;
using System.Management.Automation;

namespace SecretBridge;

/// <summary>One run of a command: what it is given, and what came of it.</summary>
public sealed class CmdletRun
{
    /// <summary>The command.</summary>
    public CommandInfo? Command { get; init; }

    /// <summary>Its parameters; names and values reach it as arguments, never as source.</summary>
    public Hashtable Parameters { get; init; } = [];

    /// <summary>Its output as it came, arrays whole.</summary>
    public object? Output { get; set; }

    /// <summary>Errors that did not end it.</summary>
    public IEnumerable? Errors { get; set; }

    /// <summary>Its warnings.</summary>
    public IEnumerable? Warnings { get; set; }

    /// <summary>What it wrote to the information stream.</summary>
    public IEnumerable? Notes { get; set; }

    /// <summary>What ended it.</summary>
    public object? Thrown { get; set; }
}

/// <summary>Runs commands of vaults. Only PowerShell can collect a command's streams, which a block for each of the two ways does.</summary>
public static class Cmdlets
{
    /// <summary>Where an exception keeps that warnings came with it.</summary>
    private const string WarnedKey = "SecretBridge.Warned";

    /// <summary>Fills a <see cref="CmdletRun"/>, whatever happens.</summary>
    public static ScriptBlock? Collect { get; set; }

    /// <summary>Fills the output alone, as a list, and throws the first error.</summary>
    public static ScriptBlock? Plain { get; set; }

    /// <summary>The last command gave warnings.</summary>
    public static bool Warned { get; private set; }

    /// <summary>
    /// Runs a cmdlet and gives its output. All its errors are collected, because the first alone often is not the cause (and
    /// `-ErrorAction Stop` makes SecretManagement rename them); any at all makes the call fail.
    /// </summary>
    public static object? Invoke(CommandInfo command, Hashtable parameters, ICollection<string>? secrets)
    {
        CmdletRun run = new() { Command = command, Parameters = parameters };
        Collect!.InvokeReturnAsIs(run);
        Warned = Tell(run.Warnings, secrets);
        Tell(run.Notes, secrets);
        List<object?> errors = [];
        if (run.Thrown is not null)
        {
            errors.Add(run.Thrown);
        }
        foreach (object? error in run.Errors ?? Array.Empty<object>())
        {
            errors.Add(error);
        }
        if (errors.Count == 0)
        {
            return run.Output;
        }
        ErrorRecord joined = Faults.Join(errors);
        // Some modules tell what is wrong by a warning only.
        if (Warned)
        {
            joined.Exception.Data[WarnedKey] = true;
        }
        throw new BridgeException(joined);
    }

    /// <summary>The output of a function as a list; null where it gave an error.</summary>
    public static object?[]? TryFunction(CommandInfo function, Hashtable parameters)
    {
        CmdletRun run = new() { Command = function, Parameters = parameters };
        try
        {
            Plain!.InvokeReturnAsIs(run);
        }
        catch (RuntimeException)
        {
            return null;
        }
        Warned = false;
        return PlainJson.Bare(run.Output) as object?[];
    }

    private static bool Tell(IEnumerable? records, ICollection<string>? secrets)
    {
        bool any = false;
        foreach (object? record in records ?? Array.Empty<object>())
        {
            Log.Record(record, secrets);
            any = true;
        }
        return any;
    }
}
