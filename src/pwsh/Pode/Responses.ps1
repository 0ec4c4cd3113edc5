# Answers that are tables of another form than JSON, which is compiled (WriteResponses.cs). The last text
# written is the answer.

Set-StrictMode -Version Latest

# One file under the server's root, for the -Path of the commands below; a missing one is a 404.
function Read-ResponseFile([string] $Path) {
    $full = [System.IO.Path]::GetFullPath($Path, $script:Bridge.Root)
    if ([System.IO.File]::Exists($full)) { return [System.IO.File]::ReadAllText($full) }
    Write-ScriptLog 'warning' "the file '$full' does not exist"
    Set-PodeResponseStatus -Code 404
}

# What only PowerShell's own cmdlets can do for the compiled commands.
[SecretBridge.Pode.ResponseJson]::Convert = { param($Value, $Depth, $Compress) ConvertTo-Json -InputObject $Value -Depth $Depth -Compress:$Compress -WarningAction SilentlyContinue }
[SecretBridge.Pode.WriteResponseCommand]::Root = { $script:Bridge.Root }
[SecretBridge.Pode.Body]::ReadCsv = { param($Text) , @($Text | ConvertFrom-Csv) }

# What several pipeline items are together: one is itself, more are a list.
function Join-PipelineValue($Items, $Value) {
    if ($Items.Count -gt 1) { return , $Items.ToArray() }
    return , $Value
}

function ConvertTo-Row($Value) {
    foreach ($item in $Value) {
        if ($item -is [System.Collections.IDictionary]) { [pscustomobject]$item } else { $item }
    }
}

# The page that ConvertTo-Html makes. The first row says which columns there are.
function ConvertTo-HtmlText($Value) {
    $rows = @(ConvertTo-Row $Value)
    $encode = { [System.Net.WebUtility]::HtmlEncode([string]$args[0]) }
    $names = @(if ($rows.Count) { $rows[0].psobject.Properties.Name })
    $lines = @(
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"  "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">'
        '<html xmlns="http://www.w3.org/1999/xhtml">', '<head>', '<title>HTML TABLE</title>', '</head><body>', '<table>'
        if ($names.Count) {
            "<colgroup>$('<col/>' * $names.Count)</colgroup>"
            "<tr>$(-join $names.ForEach({ "<th>$_</th>" }))</tr>"
        }
        foreach ($row in $rows) { "<tr>$(-join $names.ForEach({ "<td>$(& $encode $(if ($row.psobject.Properties[$_]) { $row.psobject.Properties[$_].Value }))</td>" }))</tr>" }
        '</table>', '</body></html>'
    )
    $lines -join [Environment]::NewLine
}

<#
.SYNOPSIS
Writes HTML; a value that is no text becomes a table.
#>
function Write-PodeHtmlResponse {
    [CmdletBinding(DefaultParameterSetName = 'Value')]
    param(
        [Parameter(Mandatory, Position = 0, ValueFromPipeline, ParameterSetName = 'Value')] [AllowNull()] [AllowEmptyString()] $Value,
        [Parameter(Mandatory, ParameterSetName = 'File')] [string] $Path,
        [Parameter(ParameterSetName = 'File')] [switch] $NoEscape,
        [int] $StatusCode
    )
    begin { $items = [System.Collections.Generic.List[object]]::new() }
    process { $items.Add($Value) }
    end {
        $Value = Join-PipelineValue $items $Value
        $text = if ($Path) { Read-ResponseFile $Path } elseif ($null -eq $Value) { '' } elseif ($Value -is [string]) { $Value } else { ConvertTo-HtmlText $Value }
        [SecretBridge.Pode.Response]::SetText($text, 'text/html', $StatusCode)
    }
}

function Write-XmlValue([System.Xml.XmlWriter] $Writer, $Value, [int] $Depth) {
    if ($null -eq $Value) { return }
    $base = $Value
    if ($base -is [string] -or $base -is [ValueType] -or $Depth -le 0) { $Writer.WriteString([System.Management.Automation.LanguagePrimitives]::ConvertTo($base, [string])); return }
    if ($base -is [System.Collections.IEnumerable] -and $base -isnot [System.Collections.IDictionary]) {
        foreach ($item in $base) { Write-XmlElement $Writer 'Property' $null $item ($Depth - 1) }
        return
    }
    $row = if ($base -is [System.Collections.IDictionary]) { [pscustomobject]$base } else { $Value }
    foreach ($property in $row.psobject.Properties) { Write-XmlElement $Writer 'Property' $property.Name $property.Value ($Depth - 1) }
}

function Write-XmlElement([System.Xml.XmlWriter] $Writer, [string] $Element, [string] $Name, $Value, [int] $Depth) {
    $Writer.WriteStartElement($Element)
    if ($Name) { $Writer.WriteAttributeString('Name', $Name) }
    Write-XmlValue $Writer $Value $Depth
    $Writer.WriteEndElement()
}

# The form of ConvertTo-Xml -NoTypeInformation: Objects, Object, Property.
function ConvertTo-XmlText($Value, [int] $Depth) {
    if ($Value -is [xml]) { return $Value.OuterXml }
    $memory = [System.IO.MemoryStream]::new()
    $writer = [System.Xml.XmlWriter]::Create($memory, [System.Xml.XmlWriterSettings]@{ Encoding = [System.Text.UTF8Encoding]::new($false); Indent = $true; NewLineChars = [Environment]::NewLine })
    $writer.WriteStartElement('Objects')
    foreach ($item in $Value) { Write-XmlElement $writer 'Object' $null $item $Depth }
    $writer.WriteEndElement()
    $writer.Dispose()
    [System.Text.Encoding]::UTF8.GetString($memory.ToArray())
}

<#
.SYNOPSIS
Writes XML; a value that is no text becomes objects and properties.
#>
function Write-PodeXmlResponse {
    [CmdletBinding(DefaultParameterSetName = 'Value')]
    param(
        [Parameter(Mandatory, Position = 0, ValueFromPipeline, ParameterSetName = 'Value')] [AllowNull()] [AllowEmptyString()] $Value,
        [Parameter(Mandatory, ParameterSetName = 'File')] [string] $Path,
        [Parameter(ParameterSetName = 'File')] [switch] $NoEscape,
        [ValidateNotNullOrEmpty()] [string] $ContentType = 'application/xml',
        [Parameter(ParameterSetName = 'Value')] [ValidateRange(0, 100)] [int] $Depth = 10,
        [int] $StatusCode
    )
    begin { $items = [System.Collections.Generic.List[object]]::new() }
    process { $items.Add($Value) }
    end {
        $Value = Join-PipelineValue $items $Value
        $text = if ($Path) { Read-ResponseFile $Path } elseif ($null -eq $Value) { '' } elseif ($Value -is [string]) { $Value } else { ConvertTo-XmlText $Value $Depth }
        [SecretBridge.Pode.Response]::SetText($text, $ContentType, $StatusCode)
    }
}

<#
.SYNOPSIS
Writes CSV.
#>
function Write-PodeCsvResponse {
    [CmdletBinding(DefaultParameterSetName = 'Value')]
    param(
        [Parameter(Mandatory, Position = 0, ValueFromPipeline, ParameterSetName = 'Value')] [AllowNull()] [AllowEmptyString()] $Value,
        [Parameter(Mandatory, ParameterSetName = 'File')] [string] $Path,
        [Parameter(ParameterSetName = 'File')] [switch] $NoEscape,
        [int] $StatusCode
    )
    begin { $items = [System.Collections.Generic.List[object]]::new() }
    process { $items.Add($Value) }
    end {
        $Value = Join-PipelineValue $items $Value
        $text = if ($Path) { Read-ResponseFile $Path } elseif ($null -eq $Value) { '' } elseif ($Value -is [string]) { $Value }
        else { (ConvertTo-Row $Value | ConvertTo-Csv -NoTypeInformation) -join [Environment]::NewLine }
        [SecretBridge.Pode.Response]::SetText($text, 'text/csv', $StatusCode)
    }
}
