using System;
using System.Collections;
using System.Collections.Specialized;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>Sets the status. From 400 up the answer is an error page, unless -NoErrorPage says otherwise.</summary>
/// <example>Set-PodeResponseStatus -Code 404</example>
[Cmdlet(VerbsCommon.Set, "PodeResponseStatus")]
public sealed class SetPodeResponseStatusCommand : PodeCommand
{
    /// <summary>The status.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    [ValidateRange(200, 999)]
    public int Code { get; set; }

    /// <summary>The reason phrase, and the page's text.</summary>
    [Parameter(Position = 1)]
    public string? Description { get; set; }

    /// <summary>An error that the page may show.</summary>
    [Parameter(Position = 2)]
    public object? Exception { get; set; }

    /// <summary>The page's type.</summary>
    [Parameter(Position = 3)]
    public string? ContentType { get; set; }

    /// <summary>No page.</summary>
    [Parameter]
    public SwitchParameter NoErrorPage { get; set; }

    /// <inheritdoc/>
    protected override void End() => Set(Code, Description, Exception, ContentType, !NoErrorPage);

    internal static void Set(int code, string? description, object? exception, string? contentType, bool withPage)
    {
        IDictionary left = Response.Left(WebEvent.Required);
        left["StatusCode"] = code;
        left["StatusDescription"] = description ?? "";
        if (code < 400 || !withPage)
        {
            return;
        }
        OrderedDictionary page = PlainJson.NewObject();
        if (!string.IsNullOrEmpty(description))
        {
            page["description"] = description;
        }
        if (!string.IsNullOrEmpty(contentType))
        {
            page["contentType"] = contentType;
        }
        switch (PlainJson.Bare(exception))
        {
            case ErrorRecord record:
                page["exception"] = Response.PageException(record, ScriptFaults.Of(record));
                break;
            case object other:
                OrderedDictionary shown = PlainJson.NewObject();
                shown["message"] = Redaction.Hide(other is System.Exception thrown ? thrown.Message : PlainJson.Text(other));
                shown["stackTrace"] = shown["line"] = shown["category"] = "";
                page["exception"] = shown;
                break;
        }
        left["Page"] = page;
    }
}

/// <summary>Sends the client elsewhere.</summary>
/// <example>Move-PodeResponseUrl -Url '/login'</example>
[Cmdlet(VerbsCommon.Move, "PodeResponseUrl", DefaultParameterSetName = "Url")]
public sealed class MovePodeResponseUrlCommand : PodeCommand
{
    /// <summary>Where to.</summary>
    [Parameter(Mandatory = true, Position = 0, ParameterSetName = "Url")]
    public string Url { get; set; } = "";

    /// <summary>Another port of the same URL.</summary>
    [Parameter(ParameterSetName = "Components")]
    public int Port { get; set; }

    /// <summary>Another protocol of the same URL.</summary>
    [Parameter(ParameterSetName = "Components")]
    [ValidateSet("", "Http", "Https")]
    public string Protocol { get; set; } = "";

    /// <summary>Another host of the same URL.</summary>
    [Parameter(ParameterSetName = "Components")]
    public string Address { get; set; } = "";

    /// <summary>For good: 301 in place of 302.</summary>
    [Parameter]
    public SwitchParameter Moved { get; set; }

    /// <inheritdoc/>
    protected override void End()
    {
        string to = ParameterSetName == "Components" ? FromComponents() : Url;
        SetPodeHeaderCommand.Set("Location", to);
        SetPodeResponseStatusCommand.Set(Moved ? 301 : 302, Moved ? "Moved" : "Redirect", null, null, true);
    }

    private string FromComponents()
    {
        Uri from = (Uri)((IDictionary)PlainJson.Bare(WebEvent.Required["Request"])!)["Url"]!;
        string scheme = Protocol.Length > 0 ? Protocol.ToLowerInvariant() : from.Scheme;
        string host = Address.Length > 0 ? Address : from.Host;
        int port = Port > 0 ? Port : from.Port;
        return $"{scheme}://{host}{(port is 80 or 443 ? "" : $":{port}")}{from.PathAndQuery}";
    }
}
