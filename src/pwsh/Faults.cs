using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Linq;
using System.Management.Automation;

namespace SecretBridge;

/// <summary>Errors as bounded plain objects. The core decides by `id` and `kind`; messages are for people.</summary>
public static class Faults
{
    /// <summary>Where an exception keeps the fault that the core sent, or that is final.</summary>
    public const string FaultKey = "SecretBridge.Fault";

    /// <summary>Where an exception keeps that warnings came with it.</summary>
    private const string WarnedKey = "SecretBridge.Warned";

    private const string ErrorsKey = "SecretBridge.Errors";
    private const int ChainLength = 8;

    /// <summary>Exception types that only wrap what was thrown.</summary>
    private static readonly HashSet<string> Wrappers = new(StringComparer.Ordinal)
    {
        "System.Management.Automation.MethodInvocationException",
        "System.Management.Automation.GetValueInvocationException",
        "System.Management.Automation.SetValueInvocationException",
        "System.Management.Automation.CmdletInvocationException",
        "System.Management.Automation.CmdletProviderInvocationException",
        "System.Management.Automation.ActionPreferenceStopException",
        "System.Reflection.TargetInvocationException",
        "System.AggregateException",
        "SecretBridge.BridgeException",
    };

    /// <summary>All errors of one call as one to throw: the most telling first, the others inside.</summary>
    public static ErrorRecord Join(IEnumerable records)
    {
        // Errors arrive twice where a cmdlet both writes and throws them.
        HashSet<Exception> seen = new(ReferenceEqualityComparer.Instance);
        ErrorRecord[] sorted = records.Cast<object?>().Select(RecordOf).Where(record => seen.Add(record.Exception)).OrderBy(Rank).ToArray();
        sorted[0].Exception.Data[ErrorsKey] = sorted;
        return sorted[0];
    }

    /// <summary>The fault of an exception that ended a call.</summary>
    public static OrderedDictionary Of(Exception exception, IEnumerable<string>? secrets) => Of(RecordOf(exception), secrets);

    /// <summary>The fault of a thrown error.</summary>
    public static OrderedDictionary Of(ErrorRecord record, IEnumerable<string>? secrets)
    {
        record = Thrown(record);
        // A fault of the core's that no one caught goes back as it came.
        if (record.Exception.Data[FaultKey] is OrderedDictionary known)
        {
            return known;
        }
        OrderedDictionary fault = Plain(record, secrets);
        if (record.Exception.Data[ErrorsKey] is ErrorRecord[] { Length: > 1 } all)
        {
            fault["more"] = all.Skip(1).Take(ChainLength).Select(one => (object)Plain(one, secrets)).ToArray();
        }
        if (record.Exception.Data[WarnedKey] is true)
        {
            fault["warned"] = true;
        }
        return fault;
    }

    /// <summary>The core's fault as an error to throw; its target is the fault.</summary>
    public static ErrorRecord Record(IDictionary fault)
    {
        InvalidOperationException exception = new(PlainJson.Text(fault["message"]));
        exception.Data[FaultKey] = fault;
        _ = Enum.TryParse(PlainJson.Text(fault["category"]), out ErrorCategory category);
        return new ErrorRecord(exception, PlainJson.Text(fault["id"]), category, fault);
    }

    /// <summary>The record of a record, an exception, or what PowerShell wrapped around either.</summary>
    public static ErrorRecord RecordOf(object? thrown) => PlainJson.Bare(thrown) switch
    {
        ErrorRecord record => record,
        IContainsErrorRecord holder => Held(holder),
        Exception exception => new ErrorRecord(exception, exception.GetType().FullName, ErrorCategory.NotSpecified, null),
        object other => BridgeException.Record("Unknown", PlainJson.Text(other), ErrorCategory.NotSpecified),
        null => BridgeException.Record("Unknown", "an error that says nothing", ErrorCategory.NotSpecified),
    };

    // Some exceptions make their record before they are whole: it then holds a stand-in for them.
    private static ErrorRecord Held(IContainsErrorRecord holder) =>
        holder is Exception whole && holder.ErrorRecord.Exception is ParentContainsErrorRecordException ? new ErrorRecord(holder.ErrorRecord, whole) : holder.ErrorRecord;

    /// <summary>The exception inside its wrappers.</summary>
    public static Exception Innermost(Exception exception)
    {
        while (exception.InnerException is Exception inner && Wrappers.Contains(exception.GetType().FullName ?? ""))
        {
            exception = inner;
        }
        return exception is BridgeException { ErrorRecord.Exception: Exception own } && own != exception ? own : exception;
    }

    /// <summary>The record that was thrown below the call of a .NET method, which PowerShell wraps.</summary>
    public static ErrorRecord Thrown(ErrorRecord record)
    {
        while (record.Exception is MethodInvocationException or BridgeException or System.Reflection.TargetInvocationException)
        {
            ErrorRecord? inside = record.Exception is BridgeException own ? own.ErrorRecord : record.Exception.InnerException is IContainsErrorRecord holder ? Held(holder) : null;
            if (inside is null || inside == record)
            {
                break;
            }
            record = inside;
        }
        return record;
    }

    /// <summary>Where a script failed. A place in these files says nothing to anyone.</summary>
    public static OrderedDictionary? Position(ErrorRecord record)
    {
        InvocationInfo? at = record.InvocationInfo;
        string file = at?.ScriptName ?? "";
        if (at is null || at.ScriptLineNumber < 1 || Own.Contains(file))
        {
            return null;
        }
        OrderedDictionary position = PlainJson.NewObject();
        if (file.Length > 0)
        {
            position["script"] = file;
        }
        position["line"] = at.ScriptLineNumber;
        position["column"] = Math.Max(at.OffsetInLine, 1);
        return position;
    }

    // How telling an error is: a locked store also says "not found", and that would be taken for the truth.
    private static int Rank(ErrorRecord record)
    {
        string id = record.FullyQualifiedErrorId;
        bool Is(string kind)
        {
            for (Exception? at = record.Exception; at is not null; at = at.InnerException)
            {
                if (at.GetType().Name == kind)
                {
                    return true;
                }
            }
            return false;
        }
        if (id.Contains("PasswordRequired", StringComparison.Ordinal) || Is("PasswordRequiredException"))
        {
            return 0;
        }
        if (id.StartsWith("SecretStoreUnlockFailed", StringComparison.Ordinal) || Is("AuthenticationException"))
        {
            return 1;
        }
        return id.StartsWith("GetSecretNotFound", StringComparison.Ordinal) ? 3 : 2;
    }

    private static OrderedDictionary Plain(ErrorRecord record, IEnumerable<string>? secrets)
    {
        Exception exception = Innermost(record.Exception);
        OrderedDictionary fault = PlainJson.NewObject();
        // The id of a thrown text is that text.
        fault["id"] = Redaction.Message(record.FullyQualifiedErrorId, secrets).Split(',')[0];
        fault["kind"] = exception.GetType().FullName;
        fault["category"] = record.CategoryInfo.Category.ToString();
        fault["message"] = Redaction.Message(exception.Message, secrets);
        (int? status, long? retryAfter) = ServiceAnswer.Of(record.Exception);
        if (status is int answered)
        {
            fault["status"] = answered;
        }
        if (retryAfter is long wait)
        {
            fault["retry_after"] = wait;
        }
        if (Causes.IsDiskFull(record.Exception))
        {
            fault["disk_full"] = true;
        }
        if (PlainJson.Bare(record.TargetObject) is object target)
        {
            fault["target"] = Redaction.Message(target as string ?? PlainJson.TypeOf(target)?.FullName, secrets);
        }
        if (Position(record) is OrderedDictionary position)
        {
            fault["position"] = position;
        }
        List<object> inner = [];
        for (Exception? at = exception.InnerException; at is not null && inner.Count < ChainLength; at = at.InnerException)
        {
            OrderedDictionary link = PlainJson.NewObject();
            link["kind"] = at.GetType().FullName;
            link["message"] = Redaction.Message(at.Message, secrets);
            inner.Add(link);
        }
        if (inner.Count > 0)
        {
            fault["inner"] = inner.ToArray();
        }
        return fault;
    }
}
