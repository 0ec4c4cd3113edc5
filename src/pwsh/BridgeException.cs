using System;
using System.Management.Automation;

namespace SecretBridge;

/// <summary>An error of the worker's own, with an id to tell it by; or the core's, handed on.</summary>
public sealed class BridgeException : RuntimeException
{
    private readonly ErrorRecord _record;

    /// <summary>An error with this id.</summary>
    public BridgeException(string id, string message, ErrorCategory category = ErrorCategory.InvalidArgument)
        : this(Record(id, message, category))
    {
    }

    /// <summary>Throws a record as it is.</summary>
    public BridgeException(ErrorRecord record)
        : base(record.Exception.Message)
    {
        _record = record;
    }

    /// <inheritdoc/>
    public override ErrorRecord ErrorRecord => _record;

    /// <summary>The record of an error with this id, for PowerShell's `throw`.</summary>
    public static ErrorRecord Record(string id, string message, ErrorCategory category = ErrorCategory.InvalidArgument) =>
        new(new InvalidOperationException(message), id, category, null);
}
