using System;
using System.Collections;
using System.Collections.Specialized;
using System.Globalization;
using System.Management.Automation;
using System.Text.RegularExpressions;

namespace SecretBridge;

/// <summary>Errors of people's code: with the script's line, and without the secrets that the request has seen.</summary>
public static class ScriptFaults
{
    private static readonly Regex Frame = new(@"(?m), (?<file>[^\r\n]+): line (?<line>\d+)\r?$", RegexOptions.CultureInvariant);

    /// <summary>The fault of an error: the core's own as it came, with the script's line added.</summary>
    public static OrderedDictionary Of(ErrorRecord record)
    {
        OrderedDictionary? position = Position(record);
        record = Faults.Thrown(record);
        OrderedDictionary fault = PlainJson.NewObject();
        if (record.Exception.Data[Faults.FaultKey] is IDictionary known)
        {
            foreach (DictionaryEntry entry in known)
            {
                fault[entry.Key] = entry.Value;
            }
            fault["message"] = Redaction.Hide(PlainJson.Text(fault["message"]));
            if (position is not null && !fault.Contains("position"))
            {
                fault["position"] = position;
            }
            return fault;
        }
        Exception exception = record.Exception;
        // A binding error says which parameter; what is inside it does not.
        while (exception.InnerException is not null && exception is RuntimeException and not ParameterBindingException)
        {
            exception = exception.InnerException;
        }
        // The id of a thrown text is that text.
        fault["id"] = Redaction.Hide(record.FullyQualifiedErrorId).Split(',')[0];
        fault["kind"] = exception.GetType().FullName;
        fault["category"] = record.CategoryInfo.Category.ToString();
        fault["message"] = Redaction.Message(exception.Message);
        if (position is not null)
        {
            fault["position"] = position;
        }
        return fault;
    }

    /// <summary>The script line of an error: the first place that is not in the program's own files.</summary>
    public static OrderedDictionary? Position(ErrorRecord record)
    {
        InvocationInfo? at = record.InvocationInfo;
        OrderedDictionary? place = null;
        if (at is { ScriptLineNumber: > 0, ScriptName.Length: > 0 } && !Own.Contains(at.ScriptName))
        {
            place = Place(at.ScriptName, at.ScriptLineNumber, Math.Max(1, at.OffsetInLine));
        }
        // The stack is the surer of the two: a binding error's own place is that of an outer command.
        foreach (Match match in Frame.Matches(record.ScriptStackTrace ?? ""))
        {
            string file = match.Groups["file"].Value;
            int line = int.Parse(match.Groups["line"].Value, CultureInfo.InvariantCulture);
            if (Own.Contains(file) || file == "<No file>")
            {
                continue;
            }
            bool same = place is not null && string.Equals((string?)place["script"], file, StringComparison.OrdinalIgnoreCase) && (int)place["line"]! == line;
            return same ? place : Place(file, line, 1);
        }
        return place;
    }

    private static OrderedDictionary Place(string file, int line, int column)
    {
        OrderedDictionary place = PlainJson.NewObject();
        place["script"] = file;
        place["line"] = line;
        place["column"] = column;
        return place;
    }
}
