using System;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>A response of text that a value is made into, or that stands in a file.</summary>
public abstract class WriteTextFormCommand : WriteResponseCommand
{
    /// <summary>The value; a text is sent as it is.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true, ParameterSetName = "Value")]
    [AllowNull]
    [AllowEmptyString]
    [AllowEmptyCollection]
    public object? Value { get; set; }

    /// <summary>A file below the server's root.</summary>
    [Parameter(Mandatory = true, ParameterSetName = "File")]
    public string Path { get; set; } = "";

    /// <summary>Taken for Pode's sake.</summary>
    [Parameter(ParameterSetName = "File")]
    public SwitchParameter NoEscape { get; set; }

    /// <inheritdoc/>
    protected override object? Item => Value;

    /// <summary>The answer's type.</summary>
    protected abstract string Type { get; }

    /// <inheritdoc/>
    protected override void End()
    {
        object? value = Joined;
        string text = ParameterSetName == "File" ? ReadFile(Path) : value is null ? "" : PlainJson.Bare(value) as string ?? Convert(value);
        Response.SetText(text, Type, StatusCode);
    }

    /// <summary>The text of a value that is none.</summary>
    protected abstract string Convert(object value);
}

/// <summary>Writes HTML; a value that is no text becomes a table.</summary>
/// <example>Get-Process | Select-Object -Property Name, Id | Write-PodeHtmlResponse</example>
[Cmdlet(VerbsCommunications.Write, "PodeHtmlResponse", DefaultParameterSetName = "Value")]
public sealed class WritePodeHtmlResponseCommand : WriteTextFormCommand
{
    /// <inheritdoc/>
    protected override string Type => "text/html";

    /// <inheritdoc/>
    protected override string Convert(object value) => Markup.Html(value);
}

/// <summary>Writes XML; a value that is no text becomes objects and properties.</summary>
/// <example>Write-PodeXmlResponse -Value @{ Name = 'db'; Port = 5432 }</example>
[Cmdlet(VerbsCommunications.Write, "PodeXmlResponse", DefaultParameterSetName = "Value")]
public sealed class WritePodeXmlResponseCommand : WriteTextFormCommand
{
    /// <summary>The answer's type.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string ContentType { get; set; } = "application/xml";

    /// <summary>So deep the value is written.</summary>
    [Parameter(ParameterSetName = "Value")]
    [ValidateRange(0, 100)]
    public int Depth { get; set; } = 10;

    /// <inheritdoc/>
    protected override string Type => ContentType;

    /// <inheritdoc/>
    protected override string Convert(object value) => Markup.Xml(value, Depth);
}

/// <summary>Writes CSV.</summary>
/// <example>Write-PodeCsvResponse -Value @(@{ Name = 'db'; Port = 5432 })</example>
[Cmdlet(VerbsCommunications.Write, "PodeCsvResponse", DefaultParameterSetName = "Value")]
public sealed class WritePodeCsvResponseCommand : WriteTextFormCommand
{
    /// <summary>ConvertTo-Csv, which only PowerShell has.</summary>
    public static Func<object?, object?>? Rows { get; set; }

    /// <inheritdoc/>
    protected override string Type => "text/csv";

    /// <inheritdoc/>
    protected override string Convert(object value) => PlainJson.Text(Rows?.Invoke(value));
}
