# What a route answers with. The last text written is the answer.

Set-StrictMode -Version Latest

# What is escaped, by the rules in docs/script-protocol.md, *JSON text*.
$script:JsonSpecial = [char[]]@('"', '\') + [char[]](0..31) + [char[]]@(0x85, 0x2028, 0x2029)
$script:JsonEscapes = @{ '"' = '\"'; '\' = '\\'; "`n" = '\n'; "`r" = '\r'; "`t" = '\t'; "`b" = '\b'; "`f" = '\f' }

function Get-CurrentEvent {
    if ($null -eq $global:WebEvent) { throw (New-CommandError 'there is no request here: responses are written in routes' 'NoWebEvent') }
    $global:WebEvent
}

function Set-ResponseBody([byte[]] $Bytes, [string] $ContentType, [int] $StatusCode) {
    $response = (Get-CurrentEvent).Response
    $response.Body = $Bytes
    $response.Page = $null
    if ($ContentType) { $response.ContentType = $ContentType }
    if ($StatusCode) { $response.StatusCode = $StatusCode }
}

function Set-ResponseText([string] $Text, [string] $ContentType, [int] $StatusCode) {
    if ($ContentType -notmatch 'charset') { $ContentType = "$ContentType; charset=utf-8" }
    Set-ResponseBody ([System.Text.Encoding]::UTF8.GetBytes($Text)) $ContentType $StatusCode
}

# One file under the server's root, for the -Path of the commands below.
function Read-ResponseFile([string] $Path) {
    $full = [System.IO.Path]::GetFullPath($Path, $script:Bridge.Root)
    if (-not [System.IO.File]::Exists($full)) { throw (New-CommandError "The file '$full' does not exist" 'ResponseFile' 'ObjectNotFound') }
    [System.IO.File]::ReadAllText($full)
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
    ConvertTo-Json -InputObject (ConvertTo-TextKey $Value 0) -Depth $Depth -Compress:(-not $Indented) -WarningAction SilentlyContinue
}

# Keys that are no strings would stop ConvertTo-Json.
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
Writes a value as JSON. A string is sent as it is; nothing is `{}`.
#>
function Write-PodeJsonResponse {
    [CmdletBinding(DefaultParameterSetName = 'Value')]
    param(
        [Parameter(Mandatory, Position = 0, ValueFromPipeline, ParameterSetName = 'Value')] [AllowNull()] [AllowEmptyString()] [AllowEmptyCollection()] $Value,
        [Parameter(Mandatory, ParameterSetName = 'File')] [string] $Path,
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
            $text = if ($null -eq $Value) { '{}' } elseif ($Value -is [string]) { $Value } else { ConvertTo-ResponseJson $Value $Depth $NoCompress }
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
        [Parameter(Mandatory, Position = 0, ValueFromPipeline, ParameterSetName = 'String')] [AllowNull()] [AllowEmptyString()] [string] $Value,
        [Parameter(Mandatory, ParameterSetName = 'Bytes')] [byte[]] $Bytes,
        [string] $ContentType = 'text/plain',
        [int] $MaxAge = 3600,
        [int] $StatusCode,
        [switch] $Cache
    )
    begin { $items = [System.Collections.Generic.List[string]]::new() }
    process { if ($PSCmdlet.ParameterSetName -eq 'String') { $items.Add($Value) } }
    end {
        if ($PSCmdlet.ParameterSetName -eq 'Bytes') { Set-ResponseBody $Bytes $ContentType $StatusCode }
        else { Set-ResponseText ([string]::Join([Environment]::NewLine, $items)) $ContentType $StatusCode }
        if ($Cache) { (Get-CurrentEvent).Response.Headers['Cache-Control'] = "max-age=$MaxAge, must-revalidate" }
    }
}

function ConvertTo-Row($Value) {
    foreach ($item in $Value) {
        if ($item -is [System.Collections.IDictionary]) { [pscustomobject]$item } else { $item }
    }
}

function ConvertTo-HtmlText($Value) {
    $rows = @(ConvertTo-Row $Value)
    $encode = { [System.Net.WebUtility]::HtmlEncode([string]$args[0]) }
    $names = @($rows | ForEach-Object { $_.psobject.Properties.Name } | Select-Object -Unique)
    $head = -join $names.ForEach({ "<th>$(& $encode $_)</th>" })
    $body = -join $rows.ForEach({ $row = $_; "<tr>$(-join $names.ForEach({ "<td>$(& $encode $(if ($row.psobject.Properties[$_]) { $row.psobject.Properties[$_].Value }))</td>" }))</tr>" })
    "<!DOCTYPE html><html><body><table><tr>$head</tr>$body</table></body></html>"
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
    if ($null -ne $Value) { $Writer.WriteAttributeString('Type', $(if ($Value -is [System.Collections.IDictionary]) { 'System.Management.Automation.PSCustomObject' } else { $Value.GetType().FullName })) }
    Write-XmlValue $Writer $Value $Depth
    $Writer.WriteEndElement()
}

# The form of ConvertTo-Xml: Objects, Object, Property.
function ConvertTo-XmlText($Value, [int] $Depth) {
    if ($Value -is [xml]) { return $Value.OuterXml }
    $memory = [System.IO.MemoryStream]::new()
    $writer = [System.Xml.XmlWriter]::Create($memory, [System.Xml.XmlWriterSettings]@{ Encoding = [System.Text.UTF8Encoding]::new($false) })
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
        [Parameter(Mandatory)] [ValidateRange(100, 599)] [int] $Code,
        [string] $Description,
        $Exception,
        [string] $ContentType,
        [switch] $NoErrorPage
    )
    $response = (Get-CurrentEvent).Response
    $response.StatusCode = $Code
    if ($Description) { $response.StatusDescription = $Description }
    if ($Code -lt 400 -or $NoErrorPage) { return }
    $page = [ordered]@{}
    if ($Description) { $page['description'] = $Description }
    if ($ContentType) { $page['contentType'] = $ContentType }
    if ($Exception -is [System.Management.Automation.ErrorRecord]) { $page['exception'] = ConvertTo-PageException $Exception (ConvertTo-ScriptFault $Exception) }
    elseif ($null -ne $Exception) {
        $page['exception'] = [ordered]@{ message = $(if ($Exception -is [System.Exception]) { $Exception.Message } else { [string]$Exception }); stackTrace = ''; line = ''; category = '' }
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
        $number = if ($Port -gt 0) { $Port } elseif ($Protocol -and $scheme -ne $from.Scheme) { 0 } else { $from.Port }
        $standard = $number -eq 0 -or ($scheme -eq 'http' -and $number -eq 80) -or ($scheme -eq 'https' -and $number -eq 443)
        $Url = "${scheme}://$at$(if (-not $standard) { ":$number" })$($from.PathAndQuery)"
    }
    Assert-HeaderText 'Location' $Url
    $current.Response.Headers['Location'] = $Url
    $current.Response.StatusCode = if ($Moved) { 301 } else { 302 }
    $current.Response.StatusDescription = if ($Moved) { 'Moved' } else { 'Redirect' }
}
