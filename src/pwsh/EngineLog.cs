using System;
using System.Management.Automation;
using System.Reflection;

namespace SecretBridge;

/// <summary>
/// The engine's own log of Linux and macOS. At the start and at the end of each command the engine puts a line for it together,
/// and then throws the line away, since it is for a channel that is off unless an administrator has turned it on: a tenth of what
/// a call of a route takes.
/// </summary>
public static class EngineLog
{
    private const string Provider = "System.Management.Automation.Tracing.PSSysLogProvider";

    /// <summary>The keywords that a line of the engine has by itself: PSSysLogProvider's default.</summary>
    private const ulong Ordinary = 0x00FF_FFFF_FFFF_FFFF;

    private const string Words = "System.Management.Automation.Internal.";

    /// <summary>
    /// Keeps the engine from making lines that it would throw away. What it logs stays as it is. Gives whether there was anything
    /// to do; elsewhere, and in an engine that is made in another way, nothing changes.
    /// </summary>
    public static bool SkipDropped()
    {
        const BindingFlags Own = BindingFlags.NonPublic | BindingFlags.Instance;
        Assembly engine = typeof(PSObject).Assembly;
        object? log = engine.GetType(Provider)?.GetField("s_provider", BindingFlags.NonPublic | BindingFlags.Static)?.GetValue(null);
        if (log?.GetType().GetField("_channelFilter", Own)?.GetValue(log) is not byte channels
            || log.GetType().GetField("_keywordFilter", Own) is not { } filter
            || filter.GetValue(log) is not ulong keywords
            || Number(engine, "PSChannel", "Analytic") is not ulong analytic
            || Number(engine, "PSKeyword", "Cmdlets") is not ulong commands
            || (channels & analytic) != 0
            || (keywords & commands) == 0
            // Where nothing else is asked for, the engine would take the rest for nothing at all.
            || (keywords & ~commands & Ordinary) == 0)
        {
            return false;
        }
        filter.SetValue(log, keywords & ~commands);
        return true;
    }

    private static ulong? Number(Assembly engine, string type, string name) =>
        engine.GetType(Words + type) is { IsEnum: true } words && Enum.TryParse(words, name, out object? value) ? Convert.ToUInt64(value) : null;
}
