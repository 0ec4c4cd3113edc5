using System.Collections;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>Adds a header to the response, beside others of its name.</summary>
/// <example>Add-PodeHeader -Name 'Set-Cookie' -Value 'a=b'</example>
[Cmdlet(VerbsCommon.Add, "PodeHeader")]
public sealed class AddPodeHeaderCommand : PodeCommand
{
    /// <summary>The header.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string Name { get; set; } = "";

    /// <summary>Its value.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    [AllowEmptyString]
    public string Value { get; set; } = "";

    /// <inheritdoc/>
    protected override void End() => Add(Name, Value);

    internal static void Add(string name, string value)
    {
        Response.CheckHeader(name, value);
        SetPodeHeaderCommand.OfResponse().Add(name, value);
    }
}

/// <summary>Adds several headers to the response.</summary>
/// <example>Add-PodeHeaderBulk -Values @{ 'X-One' = '1'; 'X-Two' = '2' }</example>
[Cmdlet(VerbsCommon.Add, "PodeHeaderBulk")]
public sealed class AddPodeHeaderBulkCommand : PodeCommand
{
    /// <summary>Names and values.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public Hashtable Values { get; set; } = [];

    /// <inheritdoc/>
    protected override void End()
    {
        foreach (DictionaryEntry entry in Values)
        {
            AddPodeHeaderCommand.Add(PlainJson.Text(entry.Key), PlainJson.Text(entry.Value));
        }
    }
}

/// <summary>Sets a header of the response, in place of others of its name.</summary>
/// <example>Set-PodeHeader -Name 'Cache-Control' -Value 'no-store'</example>
[Cmdlet(VerbsCommon.Set, "PodeHeader")]
public sealed class SetPodeHeaderCommand : PodeCommand
{
    /// <summary>The header.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string Name { get; set; } = "";

    /// <summary>Its value.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    [AllowEmptyString]
    public string Value { get; set; } = "";

    /// <inheritdoc/>
    protected override void End() => Set(Name, Value);

    internal static void Set(string name, string value)
    {
        Response.CheckHeader(name, value);
        OfResponse()[name] = value;
    }

    internal static IDictionary OfResponse() =>
        PlainJson.Bare(Response.Left(WebEvent.Required)["Headers"]) as IDictionary ?? throw new BridgeException("NoWebEvent", "$WebEvent.Response.Headers is no table any more");
}

/// <summary>Sets several headers of the response.</summary>
/// <example>Set-PodeHeaderBulk -Values @{ 'Cache-Control' = 'no-store'; 'X-Trace' = $WebEvent.ContextId }</example>
[Cmdlet(VerbsCommon.Set, "PodeHeaderBulk")]
public sealed class SetPodeHeaderBulkCommand : PodeCommand
{
    /// <summary>Names and values.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public Hashtable Values { get; set; } = [];

    /// <inheritdoc/>
    protected override void End()
    {
        foreach (DictionaryEntry entry in Values)
        {
            SetPodeHeaderCommand.Set(PlainJson.Text(entry.Key), PlainJson.Text(entry.Value));
        }
    }
}

/// <summary>A header of the request or of the response.</summary>
public abstract class ReadHeaderCommand : PodeCommand
{
    /// <summary>The header.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string Name { get; set; } = "";

    /// <summary>Of the response.</summary>
    [Parameter]
    public SwitchParameter Response { get; set; }

    /// <summary>The table that is meant.</summary>
    protected IDictionary Headers => Response
        ? SetPodeHeaderCommand.OfResponse()
        : (IDictionary)PlainJson.Bare(((IDictionary)PlainJson.Bare(WebEvent.Required["Request"])!)["Headers"])!;
}

/// <summary>The value of a header of the request, or of the response.</summary>
/// <example>$agent = Get-PodeHeader -Name 'User-Agent'</example>
[Cmdlet(VerbsCommon.Get, "PodeHeader")]
[OutputType(typeof(string))]
public sealed class GetPodeHeaderCommand : ReadHeaderCommand
{
    /// <inheritdoc/>
    protected override void End()
    {
        object? found = PlainJson.Bare(Headers[Name]);
        WriteObject(found is object?[] list ? (list.Length > 0 ? list[0] : null) : found);
    }
}

/// <summary>Tells whether the request, or the response, has a header.</summary>
/// <example>if (Test-PodeHeader -Name 'X-Api-Version') { $version = Get-PodeHeader -Name 'X-Api-Version' }</example>
[Cmdlet(VerbsDiagnostic.Test, "PodeHeader")]
[OutputType(typeof(bool))]
public sealed class TestPodeHeaderCommand : ReadHeaderCommand
{
    /// <inheritdoc/>
    protected override void End() => WriteObject(Headers.Contains(Name));
}
