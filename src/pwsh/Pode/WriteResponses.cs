using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>A response's text from a value, from pipeline items, or from a file below the server's root.</summary>
public abstract class WriteResponseCommand : PodeCommand
{
    private readonly List<object?> _items = [];
    private object? _last;

    /// <summary>The server's root.</summary>
    public static Func<string>? Root { get; set; }

    /// <summary>The status; 0 leaves it.</summary>
    [Parameter]
    public int StatusCode { get; set; }

    /// <summary>The value of this item.</summary>
    protected abstract object? Item { get; }

    /// <summary>One pipeline item is itself, more are a list.</summary>
    protected object? Joined => _items.Count > 1 ? _items.ToArray() : _last;

    /// <inheritdoc/>
    protected override void Process()
    {
        _last = Item;
        _items.Add(_last);
    }

    /// <summary>A file below the server's root; a missing one is a 404.</summary>
    protected static string ReadFile(string path)
    {
        string full = Path.GetFullPath(path, Root?.Invoke() ?? Environment.CurrentDirectory);
        if (File.Exists(full))
        {
            return File.ReadAllText(full);
        }
        Log.Write("warning", $"the file '{full}' does not exist");
        SetPodeResponseStatusCommand.Set(404, null, null, null, true);
        return "";
    }
}

/// <summary>Writes a value as JSON. A string is sent as it is; a blank one is `{}`.</summary>
/// <example>Write-PodeJsonResponse -Value @{ Value = $secret:Database }</example>
[Cmdlet(VerbsCommunications.Write, "PodeJsonResponse", DefaultParameterSetName = "Value")]
public sealed class WritePodeJsonResponseCommand : WriteResponseCommand
{
    /// <summary>The value.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true, ParameterSetName = "Value")]
    [AllowNull]
    [AllowEmptyString]
    [AllowEmptyCollection]
    public object? Value { get; set; }

    /// <summary>A file that holds the JSON.</summary>
    [Parameter(Mandatory = true, ParameterSetName = "File")]
    public string Path { get; set; } = "";

    /// <summary>Taken for Pode's sake.</summary>
    [Parameter(ParameterSetName = "File")]
    public SwitchParameter NoEscape { get; set; }

    /// <summary>The answer's type.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string ContentType { get; set; } = "application/json";

    /// <summary>So deep the value is written.</summary>
    [Parameter(ParameterSetName = "Value")]
    [ValidateRange(0, 100)]
    public int Depth { get; set; } = 10;

    /// <summary>Writes it with lines and blanks.</summary>
    [Parameter(ParameterSetName = "Value")]
    public SwitchParameter NoCompress { get; set; }

    /// <inheritdoc/>
    protected override object? Item => Value;

    /// <inheritdoc/>
    protected override void End()
    {
        object? value = Joined;
        string text = ParameterSetName == "File" ? ReadFile(Path) : PlainJson.Bare(value) as string ?? ResponseJson.Write(value, Depth, !NoCompress);
        Response.SetText(string.IsNullOrWhiteSpace(text) ? "{}" : text, ContentType, StatusCode);
    }
}

/// <summary>Writes a text, or bytes.</summary>
/// <example>Write-PodeTextResponse -Value 'pong' -StatusCode 200</example>
[Cmdlet(VerbsCommunications.Write, "PodeTextResponse", DefaultParameterSetName = "String")]
public sealed class WritePodeTextResponseCommand : WriteResponseCommand
{
    private readonly List<string> _lines = [];

    /// <summary>The text; several by pipeline are lines.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true, ParameterSetName = "String")]
    [AllowNull]
    [AllowEmptyString]
    public string? Value { get; set; }

    /// <summary>The bytes.</summary>
    [Parameter(ParameterSetName = "Bytes")]
    public byte[]? Bytes { get; set; }

    /// <summary>The answer's type.</summary>
    [Parameter]
    public string ContentType { get; set; } = "text/plain";

    /// <summary>For how many seconds -Cache lets it be kept.</summary>
    [Parameter]
    public int MaxAge { get; set; } = 3600;

    /// <summary>Clients may keep it.</summary>
    [Parameter]
    public SwitchParameter Cache { get; set; }

    /// <inheritdoc/>
    protected override object? Item => Value;

    /// <inheritdoc/>
    protected override void Process() => _lines.Add(Value ?? "");

    /// <inheritdoc/>
    protected override void End()
    {
        if (ParameterSetName == "Bytes")
        {
            Response.SetBody(Bytes ?? [], ContentType, StatusCode);
        }
        else
        {
            Response.SetText(string.Join(Environment.NewLine, _lines), ContentType, StatusCode);
        }
        if (Cache)
        {
            SetPodeHeaderCommand.Set("Cache-Control", $"max-age={MaxAge}, must-revalidate");
            SetPodeHeaderCommand.Set("Expires", DateTime.UtcNow.AddSeconds(MaxAge).ToString("r", CultureInfo.InvariantCulture));
        }
    }
}
