using System;
using System.Collections.Generic;

namespace SecretBridge.Pode;

/// <summary>
/// What the shared objects need of the request's path (Shared.ps1 has them): that the core hears of changes before it is asked
/// anything and at the end of a request, and that copies are the latest once a lock is had.
/// </summary>
public static class Shared
{
    /// <summary>Copies that the request holds.</summary>
    public static HashSet<long>? Held { get; set; }

    /// <summary>Tells the core what was changed; true lets go of the copies too.</summary>
    public static Action<bool>? Send { get; set; }

    /// <summary>Brings the copies up to date.</summary>
    public static Action? Refresh { get; set; }

    internal static void BeforeAsk()
    {
        if (Held is { Count: > 0 })
        {
            Send?.Invoke(false);
        }
    }

    internal static void AfterLock()
    {
        if (Held is { Count: > 0 })
        {
            Refresh?.Invoke();
        }
    }

    internal static void AtEnd()
    {
        if (Held is { Count: > 0 })
        {
            Send?.Invoke(true);
        }
    }
}
