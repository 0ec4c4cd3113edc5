using System;
using System.Collections;
using System.Collections.Specialized;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>A command about the shared state and a file.</summary>
public abstract class StateFileCommand : StateCommand
{
    /// <summary>The file, relative to the script's folder.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string Path { get; set; } = "";

    /// <summary>The whole path.</summary>
    protected string FullPath => System.IO.Path.GetFullPath(Path, WriteResponseCommand.Root?.Invoke() ?? Environment.CurrentDirectory);

    /// <summary>What is wrong with the file.</summary>
    protected static BridgeException Bad(string message, ErrorCategory category) => new("StateFile", message, category);
}

/// <summary>Writes the shared state to a JSON file.</summary>
/// <example>Save-PodeState -Path './state.json' -Exclude 'sessions'</example>
[Cmdlet(VerbsData.Save, "PodeState")]
public sealed class SavePodeStateCommand : StateFileCommand
{
    /// <summary>Scopes, of which names have one.</summary>
    [Parameter(Position = 1)]
    public string[]? Scope { get; set; }

    /// <summary>Names that are left out.</summary>
    [Parameter(Position = 2)]
    public string[]? Exclude { get; set; }

    /// <summary>The only names.</summary>
    [Parameter(Position = 3)]
    public string[]? Include { get; set; }

    /// <summary>So deep values are written.</summary>
    [Parameter(Position = 4)]
    [ValidateRange(0, 100)]
    public int Depth { get; set; } = 20;

    /// <summary>Without spaces and lines.</summary>
    [Parameter]
    public SwitchParameter Compress { get; set; }

    /// <inheritdoc/>
    protected override void End()
    {
        OrderedDictionary state = PlainJson.NewObject();
        foreach (string name in Names(Scope, Include, Exclude).ToArray())
        {
            OrderedDictionary found = Find(name);
            if (!Fields.Flag(found, "found"))
            {
                continue;
            }
            OrderedDictionary both = PlainJson.NewObject();
            both["Value"] = ValueOf(found);
            both["Scope"] = PlainJson.Bare(found["scope"]) as object?[] ?? [];
            state[name] = both;
        }
        string text = Own(() => ResponseJson.Write(state, Depth, Compress));
        try
        {
            File.WriteAllText(FullPath, text);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw Bad($"the state could not be written to '{FullPath}': {exception.Message}", ErrorCategory.WriteError);
        }
    }
}

/// <summary>Reads the shared state from a JSON file; a file that is not there is no state.</summary>
/// <example>Restore-PodeState -Path './state.json'</example>
[Cmdlet(VerbsData.Restore, "PodeState")]
public sealed class RestorePodeStateCommand : StateFileCommand
{
    // Where Pode 2.13 and later keep the values in their files, each with its type.
    private const string Typed = "__pode_state_data__";

    /// <summary>Keeps what the state has already.</summary>
    [Parameter]
    public SwitchParameter Merge { get; set; }

    /// <summary>How deep values are read; all are.</summary>
    [Parameter(Position = 1)]
    public int Depth { get; set; } = 20;

    /// <inheritdoc/>
    protected override void End()
    {
        if (!File.Exists(FullPath))
        {
            return;
        }
        Hashtable state = Read();
        if (!Merge)
        {
            foreach (string name in Names(null, null, null).ToArray())
            {
                Take(name);
            }
        }
        foreach (DictionaryEntry entry in state)
        {
            // Very old files have the bare value.
            bool whole = entry.Value is Hashtable table && table.ContainsKey("Scope");
            (object? value, object? scope) = whole ? (((Hashtable)entry.Value!)["Value"], ((Hashtable)entry.Value!)["Scope"]) : (entry.Value, null);
            object?[] scopes = scope as object?[] ?? (scope is null ? [] : [scope]);
            Store(PlainJson.Text(entry.Key), value, scopes.Select(PlainJson.Text));
        }
    }

    private Hashtable Read()
    {
        object? state;
        try
        {
            state = PlainJson.ParseTables(File.ReadAllText(FullPath));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or BadBodyException)
        {
            string why = exception is BadBodyException ? "it is not valid JSON" : exception.Message;
            throw Bad($"the state could not be read from '{FullPath}': {why}", ErrorCategory.InvalidData);
        }
        if (state is Hashtable table && table.ContainsKey(Typed))
        {
            state = FromTyped(table[Typed]);
        }
        return state as Hashtable ?? throw Bad($"the state file '{FullPath}' holds no table", ErrorCategory.InvalidData);
    }

    private static object? FromTyped(object? node)
    {
        if (node is object?[] list)
        {
            return Array.ConvertAll(list, FromTyped);
        }
        if (node is not Hashtable typed)
        {
            return node;
        }
        string type = PlainJson.Text(typed["Type"]);
        object? value = typed["Value"];
        bool Has(string part) => type.Contains(part, StringComparison.OrdinalIgnoreCase);
        if (!typed.ContainsKey("Items"))
        {
            return type.ToUpperInvariant() switch
            {
                "DATETIME" => DateTime.Parse(PlainJson.Text(value), CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind),
                "TIMESPAN" => TimeSpan.FromTicks(LanguagePrimitives.ConvertTo<long>(value)),
                "GUID" => Guid.Parse(PlainJson.Text(value)),
                _ => value,
            };
        }
        object?[] items = typed["Items"] as object?[] ?? [typed["Items"]];
        if (!Has("Dictionary") && !Has("Hashtable") && !Has("PSCustomObject"))
        {
            return Array.ConvertAll(items, FromTyped);
        }
        OrderedDictionary table = new(StringComparer.CurrentCultureIgnoreCase);
        foreach (Hashtable item in items.OfType<Hashtable>())
        {
            table[(object)PlainJson.Text(item["Key"])] = FromTyped(item["Value"]);
        }
        if (type.Equals("PSCustomObject", StringComparison.OrdinalIgnoreCase))
        {
            PSObject custom = new();
            foreach (DictionaryEntry member in table)
            {
                custom.Properties.Add(new PSNoteProperty((string)member.Key, member.Value));
            }
            return custom;
        }
        return Has("Ordered") && !type.StartsWith("Pode", StringComparison.OrdinalIgnoreCase) ? table : new Hashtable(table, StringComparer.OrdinalIgnoreCase);
    }
}
