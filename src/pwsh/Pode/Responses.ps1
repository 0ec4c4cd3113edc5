# What a route answers with. The last text written is the answer.

Set-StrictMode -Version Latest

# What is escaped, by the rules in docs/script-protocol.md, *JSON text*.
$script:JsonSpecial = [char[]]@('"', '\') + [char[]](0..31) + [char[]]@(0x85, 0x2028, 0x2029)
$script:JsonEscapes = @{ '"' = '\"'; '\' = '\\'; "`n" = '\n'; "`r" = '\r'; "`t" = '\t'; "`b" = '\b'; "`f" = '\f' }

function Get-CurrentEvent {
    if ($null -eq $global:WebEvent) { throw (New-CommandError 'there is no request here: responses are written in routes' 'NoWebEvent') }
    $global:WebEvent
}

# An error page that was asked for stays the answer, whatever is written behind it.
function Set-ResponseBody([byte[]] $Bytes, [string] $ContentType, [int] $StatusCode) {
    $response = (Get-CurrentEvent).Response
    if ($StatusCode) { $response.StatusCode = $StatusCode }
    if ($null -ne $response.Page) { return }
    $response.Body = $Bytes
    # An empty answer has no type.
    if ($Bytes.Length -eq 0) { return }
    $response.ContentType = if ($ContentType -match 'charset') { $ContentType } else { "$ContentType; charset=utf-8" }
}

# A text in the charset that its type names, which is UTF-8 where it names none.
function Set-ResponseText([string] $Text, [string] $ContentType, [int] $StatusCode) {
    $encoding = [System.Text.Encoding]::UTF8
    if ($ContentType -match 'charset\s*=\s*"?(?<name>[^"\s;]+)') { $encoding = [System.Text.Encoding]::GetEncoding($Matches['name']) }
    Set-ResponseBody $encoding.GetBytes($Text) $ContentType $StatusCode
}

# One file under the server's root, for the -Path of the commands below; a missing one is a 404.
function Read-ResponseFile([string] $Path) {
    $full = [System.IO.Path]::GetFullPath($Path, $script:Bridge.Root)
    if ([System.IO.File]::Exists($full)) { return [System.IO.File]::ReadAllText($full) }
    Write-ScriptLog 'warning' "the file '$full' does not exist"
    Set-PodeResponseStatus -Code 404
}

function Add-JsonText([System.Text.StringBuilder] $To, [string] $Text) {
    if ($Text.IndexOfAny($script:JsonSpecial) -ge 0) {
        $Text = [regex]::Replace($Text, '["\\\x00-\x1f\x85\u2028\u2029]', {
                param($match)
                $script:JsonEscapes[$match.Value] ?? ('\u{0:x4}' -f [int][char]$match.Value)
            })
    }
    $null = $To.Append('"').Append($Text).Append('"')
}

# Writes plain values; false where a value is none of those, or too deep.
function Add-PlainJson([System.Text.StringBuilder] $To, $Value, [int] $Depth) {
    if ($null -eq $Value) { $null = $To.Append('null'); return $true }
    if ($Value -is [string]) { Add-JsonText $To $Value; return $true }
    if ($Value -is [bool]) { $null = $To.Append($(if ($Value) { 'true' } else { 'false' })); return $true }
    if ($Value -is [int] -or $Value -is [long]) { $null = $To.Append([string]$Value); return $true }
    if ($Depth -lt 0) { return $false }
    if ($Value -is [System.Collections.IDictionary]) {
        $null = $To.Append('{')
        $first = $true
        foreach ($entry in $Value.GetEnumerator()) {
            if (-not $first) { $null = $To.Append(',') }
            $first = $false
            Add-JsonText $To ([string]$entry.Key)
            $null = $To.Append(':')
            if (-not (Add-PlainJson $To $entry.Value ($Depth - 1))) { return $false }
        }
        $null = $To.Append('}')
        return $true
    }
    if ($Value -is [object[]]) {
        $null = $To.Append('[')
        for ($i = 0; $i -lt $Value.Length; $i++) {
            if ($i) { $null = $To.Append(',') }
            if (-not (Add-PlainJson $To $Value[$i] ($Depth - 1))) { return $false }
        }
        $null = $To.Append(']')
        return $true
    }
    $false
}

function ConvertTo-ResponseJson($Value, [int] $Depth, [bool] $Indented) {
    if (-not $Indented) {
        $text = [System.Text.StringBuilder]::new()
        if (Add-PlainJson $text $Value $Depth) { return $text.ToString() }
    }
    if (-not (Test-TextKey $Value 0)) { $Value = ConvertTo-TextKey $Value 0 }
    ConvertTo-Json -InputObject $Value -Depth $Depth -Compress:(-not $Indented) -WarningAction SilentlyContinue
}

# Keys that are no strings would stop ConvertTo-Json.
function Test-TextKey($Value, [int] $Level) {
    if ($Level -gt 100 -or $null -eq $Value) { return $true }
    if ($Value -is [System.Collections.IDictionary]) {
        foreach ($entry in $Value.GetEnumerator()) { if ($entry.Key -isnot [string] -or -not (Test-TextKey $entry.Value ($Level + 1))) { return $false } }
    }
    elseif ($Value -is [object[]]) {
        foreach ($item in $Value) { if (-not (Test-TextKey $item ($Level + 1))) { return $false } }
    }
    $true
}

function ConvertTo-TextKey($Value, [int] $Level) {
    if ($Level -gt 100 -or $null -eq $Value) { return $Value }
    $base = $Value
    if ($base -is [System.Collections.IDictionary]) {
        $table = [ordered]@{}
        foreach ($entry in $base.GetEnumerator()) { $table[[object][string]$entry.Key] = ConvertTo-TextKey $entry.Value ($Level + 1) }
        return $table
    }
    if ($base -is [object[]]) { return , @(foreach ($item in $base) { ConvertTo-TextKey $item ($Level + 1) }) }
    return , $Value
}

# What several pipeline items are together: one is itself, more are a list.
function Join-PipelineValue($Items, $Value) {
    if ($Items.Count -gt 1) { return , $Items.ToArray() }
    return , $Value
}

<#
.SYNOPSIS
Writes a value as JSON. A string is sent as it is; a blank one is `{}`.
#>
function Write-PodeJsonResponse {
    [CmdletBinding(DefaultParameterSetName = 'Value')]
    param(
        [Parameter(Mandatory, Position = 0, ValueFromPipeline, ParameterSetName = 'Value')] [AllowNull()] [AllowEmptyString()] [AllowEmptyCollection()] $Value,
        [Parameter(Mandatory, ParameterSetName = 'File')] [string] $Path,
        [Parameter(ParameterSetName = 'File')] [switch] $NoEscape,
        [ValidateNotNullOrEmpty()] [string] $ContentType = 'application/json',
        [Parameter(ParameterSetName = 'Value')] [ValidateRange(0, 100)] [int] $Depth = 10,
        [int] $StatusCode,
        [Parameter(ParameterSetName = 'Value')] [switch] $NoCompress
    )
    begin { $items = [System.Collections.Generic.List[object]]::new() }
    process { if ($MyInvocation.ExpectingInput) { $items.Add($Value) } }
    end {
        if ($Path) { $text = Read-ResponseFile $Path }
        else {
            if ($items.Count -gt 1) { $Value = $items.ToArray() }
            $text = if ($Value -is [string]) { $Value } else { ConvertTo-ResponseJson $Value $Depth $NoCompress }
            if ([string]::IsNullOrWhiteSpace($text)) { $text = '{}' }
        }
        Set-ResponseText $text $ContentType $StatusCode
    }
}

<#
.SYNOPSIS
Writes a text, or bytes.
#>
function Write-PodeTextResponse {
    [CmdletBinding(DefaultParameterSetName = 'String')]
    param(
        [Parameter(Position = 0, ValueFromPipeline, ParameterSetName = 'String')] [AllowNull()] [AllowEmptyString()] [string] $Value,
        [Parameter(ParameterSetName = 'Bytes')] [byte[]] $Bytes,
        [string] $ContentType = 'text/plain',
        [int] $MaxAge = 3600,
        [int] $StatusCode,
        [switch] $Cache
    )
    begin { $items = [System.Collections.Generic.List[string]]::new() }
    process { $items.Add($Value) }
    end {
        if ($PSCmdlet.ParameterSetName -eq 'Bytes') { Set-ResponseBody $Bytes $ContentType $StatusCode }
        else { Set-ResponseText ([string]::Join([Environment]::NewLine, $items)) $ContentType $StatusCode }
        if ($Cache) {
            Set-PodeHeader -Name 'Cache-Control' -Value "max-age=$MaxAge, must-revalidate"
            Set-PodeHeader -Name 'Expires' -Value ([datetime]::UtcNow.AddSeconds($MaxAge).ToString('r', [cultureinfo]::InvariantCulture))
        }
    }
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
        Set-ResponseText $text 'text/html' $StatusCode
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
        Set-ResponseText $text $ContentType $StatusCode
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
        Set-ResponseText $text 'text/csv' $StatusCode
    }
}

<#
.SYNOPSIS
Sets the status. From 400 up the answer is an error page, unless -NoErrorPage says otherwise.
#>
function Set-PodeResponseStatus {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)] [ValidateRange(200, 999)] [int] $Code,
        [string] $Description,
        $Exception,
        [string] $ContentType,
        [switch] $NoErrorPage
    )
    $response = (Get-CurrentEvent).Response
    $response.StatusCode = $Code
    $response.StatusDescription = $Description
    if ($Code -lt 400 -or $NoErrorPage) { return }
    $page = [ordered]@{}
    if ($Description) { $page['description'] = $Description }
    if ($ContentType) { $page['contentType'] = $ContentType }
    if ($Exception -is [System.Management.Automation.ErrorRecord]) { $page['exception'] = ConvertTo-PageException $Exception ([SecretBridge.ScriptFaults]::Of($Exception)) }
    elseif ($null -ne $Exception) {
        $page['exception'] = [ordered]@{ message = [SecretBridge.Redaction]::Hide($(if ($Exception -is [System.Exception]) { $Exception.Message } else { [string]$Exception })); stackTrace = ''; line = ''; category = '' }
    }
    $response.Page = $page
}

<#
.SYNOPSIS
Sends the client elsewhere.
#>
function Move-PodeResponseUrl {
    [CmdletBinding(DefaultParameterSetName = 'Url')]
    param(
        [Parameter(Mandatory, Position = 0, ParameterSetName = 'Url')] [string] $Url,
        [Parameter(ParameterSetName = 'Components')] [int] $Port = 0,
        [Parameter(ParameterSetName = 'Components')] [ValidateSet('', 'Http', 'Https')] [string] $Protocol,
        [Parameter(ParameterSetName = 'Components')] [string] $Address,
        [switch] $Moved
    )
    $current = Get-CurrentEvent
    if ($PSCmdlet.ParameterSetName -eq 'Components') {
        $from = $current.Request.Url
        $scheme = if ($Protocol) { $Protocol.ToLowerInvariant() } else { $from.Scheme }
        $at = if ($Address) { $Address } else { $from.Host }
        $number = if ($Port -gt 0) { $Port } else { $from.Port }
        $Url = "${scheme}://$at$(if ($number -notin 80, 443) { ":$number" })$($from.PathAndQuery)"
    }
    Set-PodeHeader -Name 'Location' -Value $Url
    if ($Moved) { Set-PodeResponseStatus -Code 301 -Description 'Moved' } else { Set-PodeResponseStatus -Code 302 -Description 'Redirect' }
}
