using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Linq;
using System.Management.Automation;
using System.Text.RegularExpressions;

namespace SecretBridge.Pode;

/// <summary>A command about the shared state: one table, in the core.</summary>
public abstract class StateCommand : PodeCommand
{
    /// <summary>Warns, with the place in the script: of what, the value, and what in it cannot travel.</summary>
    public static Action<string, object?, string[]>? Warn { get; set; }

    /// <summary>The names in the state that have one of these scopes, or all; of those the ones included, or all, and none excluded.</summary>
    protected static IEnumerable<string> Names(string[]? scope, string[]? include, string[]? exclude)
    {
        OrderedDictionary ask = NewAsk("state-names");
        if (scope is { Length: > 0 })
        {
            ask["scope"] = scope;
        }
        IEnumerable found = PlainJson.Bare(Ask(ask)["names"]) as IEnumerable ?? Array.Empty<object>();
        return found.Cast<object?>().Select(PlainJson.Text).Where(name =>
            name.Length > 0
            && (include is not { Length: > 0 } || include.Contains(name, StringComparer.OrdinalIgnoreCase))
            && (exclude is not { Length: > 0 } || !exclude.Contains(name, StringComparer.OrdinalIgnoreCase)));
    }

    /// <summary>What the core has of a name.</summary>
    protected static OrderedDictionary Find(string name)
    {
        OrderedDictionary ask = NewAsk("state-get");
        ask["name"] = name;
        return Ask(ask);
    }

    /// <summary>The value in such an answer; an object that changes is this process's copy of it.</summary>
    protected static object? ValueOf(OrderedDictionary found) => Own(() => Portable.Untag((IDictionary)PlainJson.Bare(found["value"])!));

    /// <summary>
    /// Stores a value. An object that changes is shared: one that is known already is told by its number, another takes the place of
    /// the one of that name.
    /// </summary>
    protected static void Store(string name, object? value, IEnumerable<string>? scope) => Own(() =>
    {
        OrderedDictionary ask = NewAsk("state-set");
        ask["name"] = name;
        ask["scope"] = (scope ?? []).Where(one => !string.IsNullOrEmpty(one)).ToArray();
        if (SharedText.IsContainer(value))
        {
            Share(ask, $"the state '{name}'", PlainJson.Bare(value)!);
            return true;
        }
        if (!Portable.IsPlain(value))
        {
            Warn?.Invoke($"the state '{name}'", value, []);
        }
        ask["value"] = Portable.Tag(value);
        Ask(ask);
        return true;
    });

    private static void Share(OrderedDictionary ask, string what, object value)
    {
        SharedText text = SharedText.Of(value);
        if (text.Stays.Length > 0)
        {
            Warn?.Invoke(what, value, text.Stays);
        }
        SharedCopy? copy = Shared.Find(value);
        if (copy is not null)
        {
            ask["shared"] = copy.Id;
            Shared.Hold(copy.Id);
        }
        ask["text"] = text.Text;
        OrderedDictionary answer = Ask(ask);
        long id = Convert.ToInt64(answer["id"]);
        if (copy?.Id == id)
        {
            return;
        }
        if (copy is not null)
        {
            Shared.Forget(copy.Id);
        }
        Shared.Keep(id, value, text.Text, Convert.ToInt64(answer["version"]));
    }

    /// <summary>Takes a name out.</summary>
    protected static void Take(string name)
    {
        OrderedDictionary ask = NewAsk("state-remove");
        ask["name"] = name;
        Ask(ask);
    }

    /// <summary>Runs what PowerShell does for the command; what that throws is the command's own error.</summary>
    protected static T Own<T>(Func<T> step)
    {
        try
        {
            return step();
        }
        catch (RuntimeException exception) when (exception is not (BridgeException or PipelineStoppedException))
        {
            throw new BridgeException(Faults.Thrown(Faults.RecordOf(exception)));
        }
    }
}

/// <summary>Stores a value in the shared state, and gives it back.</summary>
/// <example>Set-PodeState -Name 'hits' -Value @{ Count = 0 } | Out-Null</example>
[Cmdlet(VerbsCommon.Set, "PodeState")]
public sealed class SetPodeStateCommand : StateCommand
{
    private readonly List<object?> _items = [];

    /// <summary>Its name.</summary>
    [Parameter(Mandatory = true)]
    public string Name { get; set; } = "";

    /// <summary>The value; several by pipeline are a list.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    public object? Value { get; set; }

    /// <summary>Scopes, by which state is listed and saved.</summary>
    [Parameter]
    public string[]? Scope { get; set; }

    /// <summary>Gives nothing back.</summary>
    [Parameter]
    public SwitchParameter NoPassThru { get; set; }

    /// <inheritdoc/>
    protected override void Process() => _items.Add(Value);

    /// <inheritdoc/>
    protected override void End()
    {
        object? value = _items.Count > 1 ? _items.ToArray() : Value;
        Store(Name, value, Scope);
        if (!NoPassThru)
        {
            WriteObject(value);
        }
    }
}

/// <summary>A value of the shared state.</summary>
/// <example>Lock-PodeObject -Name 'hits' -ScriptBlock { (Get-PodeState -Name 'hits').Count++ }</example>
[Cmdlet(VerbsCommon.Get, "PodeState")]
public sealed class GetPodeStateCommand : StateCommand
{
    /// <summary>Its name.</summary>
    [Parameter(Mandatory = true)]
    public string Name { get; set; } = "";

    /// <summary>Gives a table of the value and its scopes.</summary>
    [Parameter]
    public SwitchParameter WithScope { get; set; }

    /// <inheritdoc/>
    protected override void Process()
    {
        OrderedDictionary found = Find(Name);
        if (!Fields.Flag(found, "found"))
        {
            return;
        }
        object? value = ValueOf(found);
        if (!WithScope)
        {
            WriteObject(value);
            return;
        }
        Hashtable both = Values.NewTable();
        both["Value"] = value;
        both["Scope"] = PlainJson.Bare(found["scope"]) as object?[] ?? [];
        WriteObject(both);
    }
}

/// <summary>Removes a value from the shared state, and gives it.</summary>
/// <example>$old = Remove-PodeState -Name 'hits'</example>
[Cmdlet(VerbsCommon.Remove, "PodeState")]
public sealed class RemovePodeStateCommand : StateCommand
{
    /// <summary>Its name.</summary>
    [Parameter(Mandatory = true)]
    public string Name { get; set; } = "";

    /// <summary>Gives nothing back.</summary>
    [Parameter]
    public SwitchParameter NoPassThru { get; set; }

    /// <inheritdoc/>
    protected override void Process()
    {
        OrderedDictionary? found = NoPassThru ? null : Find(Name);
        object? value = found is not null && Fields.Flag(found, "found") ? ValueOf(found) : null;
        Take(Name);
        if (value is not null)
        {
            WriteObject(value);
        }
    }
}

/// <summary>Tells whether the shared state has a value.</summary>
/// <example>if (-not (Test-PodeState -Name 'hits')) { Set-PodeState -Name 'hits' -Value @{ Count = 0 } -NoPassThru }</example>
[Cmdlet(VerbsDiagnostic.Test, "PodeState")]
[OutputType(typeof(bool))]
public sealed class TestPodeStateCommand : StateCommand
{
    /// <summary>Its name.</summary>
    [Parameter(Mandatory = true)]
    public string Name { get; set; } = "";

    /// <inheritdoc/>
    protected override void Process() => WriteObject(Fields.Flag(Find(Name), "found"));
}

/// <summary>The names in the shared state.</summary>
/// <example>Get-PodeStateNames -Pattern '^cache-' -Exclude 'cache-old'</example>
[Cmdlet(VerbsCommon.Get, "PodeStateNames")]
[OutputType(typeof(string))]
public sealed class GetPodeStateNamesCommand : StateCommand
{
    /// <summary>A regular expression that names match.</summary>
    [Parameter]
    public string Pattern { get; set; } = "";

    /// <summary>Scopes, of which names have one.</summary>
    [Parameter]
    public string[]? Scope { get; set; }

    /// <summary>Names that are left out.</summary>
    [Parameter]
    public string[]? Exclude { get; set; }

    /// <summary>The only names.</summary>
    [Parameter]
    public string[]? Include { get; set; }

    /// <inheritdoc/>
    protected override void Process()
    {
        foreach (string name in Names(Scope, Include, Exclude))
        {
            if (Pattern.Length == 0 || Regex.IsMatch(name, Pattern, RegexOptions.IgnoreCase))
            {
                WriteObject(name);
            }
        }
    }
}
