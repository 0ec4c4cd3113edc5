using System.Collections;
using System.Collections.Specialized;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>The value of a mounted secret.</summary>
/// <example>$password = Get-PodeSecret -Name 'Database'</example>
[Cmdlet(VerbsCommon.Get, "PodeSecret")]
public sealed class GetPodeSecretCommand : PodeCommand
{
    /// <summary>The mounted secret.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string Name { get; set; } = "";

    /// <inheritdoc/>
    protected override void End() => WriteObject(Read(Name));

    internal static object? Read(string name)
    {
        OrderedDictionary ask = NewAsk("secret-get");
        ask["name"] = name;
        OrderedDictionary answer = Ask(ask);
        // The common case first: it is on the way of every `$secret:` read.
        if (answer.Count == 1 && answer["value"] is OrderedDictionary tagged && tagged["t"] is "string" && tagged["v"] is string text)
        {
            Redaction.Add(text);
            return text;
        }
        return SecretValues.Project(answer);
    }
}

/// <summary>Tells whether a secret is mounted.</summary>
/// <example>if (Test-PodeSecret -Name 'Database') { Write-PodeTextResponse -Value 'mounted' }</example>
[Cmdlet(VerbsDiagnostic.Test, "PodeSecret")]
[OutputType(typeof(bool))]
public sealed class TestPodeSecretCommand : PodeCommand
{
    /// <summary>The name it would have.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string Name { get; set; } = "";

    /// <inheritdoc/>
    protected override void End()
    {
        OrderedDictionary ask = NewAsk("mount-test");
        ask["name"] = Name;
        WriteObject(Fields.Flag(Ask(ask), "mounted"));
    }
}

/// <summary>Reads a secret straight from a vault, past mounts and cache.</summary>
/// <example>Read-PodeSecret -Key 'db' -Vault 'Team' -ExpandProperty 'Password'</example>
[Cmdlet(VerbsCommunications.Read, "PodeSecret")]
public sealed class ReadPodeSecretCommand : PodeCommand
{
    /// <summary>The secret's name in the vault.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string Key { get; set; } = "";

    /// <summary>The vault.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    public string Vault { get; set; } = "";

    /// <summary>Properties of the value to give.</summary>
    [Parameter(Position = 2)]
    public string[]? Property { get; set; }

    /// <summary>The one property to give by itself.</summary>
    [Parameter(Position = 3)]
    public string? ExpandProperty { get; set; }

    /// <summary>Arguments for a custom vault's block.</summary>
    [Parameter(Position = 4)]
    public object[]? ArgumentList { get; set; }

    /// <inheritdoc/>
    protected override void End()
    {
        OrderedDictionary ask = NewAsk("read");
        ask["vault"] = Vault;
        ask["key"] = Key;
        ask["arguments"] = Portable.TagList(ArgumentList);
        if (!string.IsNullOrEmpty(ExpandProperty))
        {
            ask["expand"] = ExpandProperty;
        }
        else if (Property is { Length: > 0 })
        {
            ask["property"] = Property;
        }
        WriteObject(SecretValues.Project(Ask(ask)));
    }
}

/// <summary>A command that stores one value.</summary>
public abstract class StoreSecretCommand : PodeCommand
{
    private int _count;
    private object? _last;

    /// <summary>The value.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [AllowEmptyString]
    [AllowEmptyCollection]
    public object? InputObject { get; set; }

    /// <summary>Metadata to keep with it; without, the present metadata is kept.</summary>
    [Parameter]
    public Hashtable? Metadata { get; set; }

    /// <inheritdoc/>
    protected override void Process()
    {
        _count++;
        _last = InputObject;
    }

    // One value is stored. Several by pipeline are refused, and so are none, which would erase the secret.
    private protected void Store(OrderedDictionary ask, object[]? arguments)
    {
        if (_count > 1)
        {
            throw new BridgeException("ArrayByPipeline", $"The function '{MyInvocation.MyCommand.Name}' does not accept an array as pipeline input.");
        }
        if (_count == 0)
        {
            throw new BridgeException("ParameterArgumentValidationErrorNullNotAllowed", "Cannot bind argument to parameter 'InputObject' because it is null.", ErrorCategory.InvalidData);
        }
        ask["value"] = SecretValues.Tag(_last);
        if (arguments is not null)
        {
            ask["arguments"] = Portable.TagList(arguments);
        }
        if (Metadata is not null)
        {
            ask["metadata"] = SecretBridge.Metadata.Tag(Metadata);
        }
        Ask(ask);
    }
}

/// <summary>Stores a new value for a mounted secret. Without -Metadata the present metadata is kept.</summary>
/// <example>Update-PodeSecret -Name 'Database' -InputObject $WebEvent.Data.Value</example>
[Cmdlet(VerbsData.Update, "PodeSecret")]
public sealed class UpdatePodeSecretCommand : StoreSecretCommand
{
    /// <summary>The mounted secret.</summary>
    [Parameter(Mandatory = true)]
    public string Name { get; set; } = "";

    /// <inheritdoc/>
    protected override void End()
    {
        OrderedDictionary ask = NewAsk("secret-set");
        ask["name"] = Name;
        Store(ask, null);
    }
}

/// <summary>Writes a secret straight to a vault.</summary>
/// <example>Set-PodeSecret -Key 'db' -Vault 'Team' -InputObject $WebEvent.Data.Value</example>
[Cmdlet(VerbsCommon.Set, "PodeSecret")]
public sealed class SetPodeSecretCommand : StoreSecretCommand
{
    /// <summary>The secret's name in the vault.</summary>
    [Parameter(Mandatory = true)]
    public string Key { get; set; } = "";

    /// <summary>The vault.</summary>
    [Parameter(Mandatory = true)]
    public string Vault { get; set; } = "";

    /// <summary>Arguments for a custom vault's block.</summary>
    [Parameter]
    public object[]? ArgumentList { get; set; }

    /// <inheritdoc/>
    protected override void End()
    {
        OrderedDictionary ask = NewAsk("set");
        ask["vault"] = Vault;
        ask["key"] = Key;
        Store(ask, ArgumentList ?? []);
    }
}

/// <summary>Removes a secret from a vault.</summary>
/// <example>Remove-PodeSecret -Key 'db' -Vault 'Team'</example>
[Cmdlet(VerbsCommon.Remove, "PodeSecret")]
public sealed class RemovePodeSecretCommand : PodeCommand
{
    /// <summary>The secret's name in the vault.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string Key { get; set; } = "";

    /// <summary>The vault.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    public string Vault { get; set; } = "";

    /// <summary>Arguments for a custom vault's block.</summary>
    [Parameter(Position = 2)]
    public object[]? ArgumentList { get; set; }

    /// <inheritdoc/>
    protected override void End()
    {
        OrderedDictionary ask = NewAsk("remove");
        ask["vault"] = Vault;
        ask["key"] = Key;
        ask["arguments"] = Portable.TagList(ArgumentList);
        Ask(ask);
    }
}
