using System.Collections.Generic;
using System.Collections.Specialized;
using System.Management.Automation;

namespace SecretBridge;

/// <summary>Lines for the core's log, without secrets.</summary>
public static class Log
{
    /// <summary>Sends a line at once; it waits for nothing.</summary>
    public static void Write(string level, string message, IEnumerable<string>? secrets = null)
    {
        string text = Redaction.Message(message, secrets);
        if (Channel.LogTo is not null)
        {
            Channel.LogTo(level, text);
            return;
        }
        Channel.Send(writer =>
        {
            writer.WriteStartObject("log");
            writer.WriteString("level", level);
            writer.WriteString("message", text);
            writer.WriteEndObject();
        });
    }

    /// <summary>A record of PowerShell's other streams; anything else is output, and dropped.</summary>
    public static void Record(object? record, IEnumerable<string>? secrets = null)
    {
        object? bare = PlainJson.Bare(record);
        if (bare is ErrorRecord error)
        {
            Write("error", ErrorText(error), secrets);
        }
        else if (Level(bare) is string level)
        {
            Write(level, bare!.ToString() ?? "", secrets);
        }
    }

    /// <summary>An error's message with the place in the script.</summary>
    public static string ErrorText(ErrorRecord error)
    {
        OrderedDictionary fault = ScriptFaults.Of(error);
        string at = fault["position"] is OrderedDictionary position ? $" ({position["script"]}:{position["line"]})" : "";
        return $"{fault["message"]}{at}";
    }

    /// <summary>The level of a record that is no error; null for what is no record.</summary>
    public static string? Level(object? record) => record switch
    {
        WarningRecord => "warning",
        InformationRecord => "information",
        VerboseRecord => "verbose",
        DebugRecord => "debug",
        _ => null,
    };
}
