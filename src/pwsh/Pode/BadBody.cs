using System;

namespace SecretBridge.Pode;

/// <summary>A body that is not what its type says: the client's mistake, answered with 400.</summary>
public sealed class BadBodyException : Exception
{
    /// <summary>Says what is wrong, and nothing of the body.</summary>
    public BadBodyException(string message)
        : base(message)
    {
    }
}
