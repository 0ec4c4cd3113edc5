# Request bodies by media type. A body that is not what its type says is the client's mistake: 400.

Set-StrictMode -Version Latest

$script:BodyError = 'BadBody'

# Query strings and forms: keys without case, repeated ones joined by commas, a bare word under `''`.
function ConvertFrom-FormText([string] $Text) {
    $table = @{}
    foreach ($pair in $Text.Split('&')) {
        if ($pair -eq '') { continue }
        $cut = $pair.IndexOf([char]'=')
        $key = if ($cut -lt 0) { '' } else { [System.Net.WebUtility]::UrlDecode($pair.Substring(0, $cut)) }
        $value = [System.Net.WebUtility]::UrlDecode($(if ($cut -lt 0) { $pair } else { $pair.Substring($cut + 1) }))
        $table[$key] = if ($table.ContainsKey($key)) { "$($table[$key]),$value" } else { $value }
    }
    $table
}

# JSON as tables, lists and plain values. Strings stay strings, whatever they look like. Keys are found
# without case, unless an object has two that differ in nothing else.
function ConvertFrom-JsonText([string] $Text) {
    $document = $null
    try { $document = [System.Text.Json.JsonDocument]::Parse($Text, [System.Text.Json.JsonDocumentOptions]@{ MaxDepth = 100; AllowTrailingCommas = $true; CommentHandling = 'Skip' }) }
    catch { throw (New-CommandError 'the body is not valid JSON' $script:BodyError 'InvalidData') }
    try { return , (ConvertFrom-JsonNode $document.RootElement) }
    finally { $document.Dispose() }
}

function ConvertFrom-JsonNode([System.Text.Json.JsonElement] $Element) {
    switch ([int]$Element.ValueKind) {
        3 { return $Element.GetString() }
        1 {
            $table = @{}
            foreach ($member in $Element.EnumerateObject()) {
                if ($table.ContainsKey($member.Name)) {
                    $exact = [hashtable]::new($table, [StringComparer]::Ordinal)
                    $table = $exact
                }
                $table[[object]$member.Name] = ConvertFrom-JsonNode $member.Value
            }
            return $table
        }
        2 {
            $list = [System.Collections.Generic.List[object]]::new()
            foreach ($item in $Element.EnumerateArray()) { $list.Add((ConvertFrom-JsonNode $item)) }
            return , $list.ToArray()
        }
        4 {
            [long] $long = 0
            if ($Element.TryGetInt64([ref]$long)) { return $long }
            $raw = $Element.GetRawText()
            if ($raw -notmatch '[.eE]') { return [bigint]::Parse($raw, [cultureinfo]::InvariantCulture) }
            return $Element.GetDouble()
        }
        5 { return $true }
        6 { return $false }
    }
    $null
}

function ConvertFrom-XmlText([string] $Text) {
    $settings = [System.Xml.XmlReaderSettings]::new()
    $settings.DtdProcessing = [System.Xml.DtdProcessing]::Prohibit
    $settings.XmlResolver = $null
    $document = [System.Xml.XmlDocument]::new()
    $document.XmlResolver = $null
    try {
        $reader = [System.Xml.XmlReader]::Create([System.IO.StringReader]::new($Text), $settings)
        $document.Load($reader)
    }
    catch { throw (New-CommandError 'the body is not valid XML' $script:BodyError 'InvalidData') }
    return , $document
}

# The media type without its parameters, and the charset's encoding.
function Split-ContentType([string] $ContentType) {
    $parts = $ContentType.Split(';')
    $encoding = [SecretBridge.Values]::StrictUtf8
    foreach ($part in $parts) {
        if ($part -match '^\s*charset\s*=\s*"?(?<name>[^"\s]+)"?\s*$') {
            try { $encoding = [System.Text.Encoding]::GetEncoding($Matches['name'], [System.Text.EncoderFallback]::ExceptionFallback, [System.Text.DecoderFallback]::ExceptionFallback) }
            catch { throw (New-CommandError "the charset '$($Matches['name'])' is not known" $script:BodyError 'InvalidData') }
        }
    }
    $parts[0].Trim().ToLowerInvariant()
    $encoding
}

# Gives `Data`, `Files` and the body's text.
function Read-RequestBody([byte[]] $Bytes, [string] $ContentType) {
    $result = @{ Data = @{}; Files = @{}; Text = '' }
    if ($Bytes.Length -eq 0) { return $result }
    $type, $encoding = Split-ContentType $ContentType
    if ($type -eq 'multipart/form-data') {
        Read-MultipartBody $Bytes $ContentType $result
        return $result
    }
    try { $text = $encoding.GetString($Bytes) }
    catch {
        if ($type -match '/(json|xml|csv|x-www-form-urlencoded)$') { throw (New-CommandError 'the body is not valid in its charset' $script:BodyError 'InvalidData') }
        $text = [System.Text.Encoding]::Latin1.GetString($Bytes)
    }
    if ($text.Length -gt 0 -and $text[0] -eq [char]0xFEFF) { $text = $text.Substring(1) }
    $result.Text = $text
    if ([string]::IsNullOrWhiteSpace($text)) { return $result }
    $result.Data = switch -Regex ($type) {
        '/json$' { , (ConvertFrom-JsonText $text); break }
        '/xml$' { , (ConvertFrom-XmlText $text); break }
        '/csv$' { , @($text | ConvertFrom-Csv); break }
        '(/x-www-form-urlencoded|^)$' { ConvertFrom-LooseText $text; break }
        default { $text }
    }
    $result
}

# A form, or no type at all: JSON that a client sent without saying so is taken as JSON.
function ConvertFrom-LooseText([string] $Text) {
    if ($Text.TrimStart().StartsWith([char]'{') -and $Text -notmatch '^[^{"]*=') {
        try { return ConvertFrom-JsonText $Text }
        catch { $null = $_ }
    }
    ConvertFrom-FormText $Text
}

# Fields go to `Data`, files to `Files` and their names to `Data`, as in Pode: several files of one field are a
# list there, several values of one field a text with commas.
function Read-MultipartBody([byte[]] $Bytes, [string] $ContentType, [hashtable] $Result) {
    if ($ContentType -notmatch 'boundary\s*=\s*("(?<b>[^"]+)"|(?<b>[^;\s]+))') { throw (New-CommandError 'the multipart body has no boundary' $script:BodyError 'InvalidData') }
    # One character a byte, so that offsets and bytes agree.
    $text = "`r`n" + [System.Text.Encoding]::Latin1.GetString($Bytes)
    $parts = $text.Split("`r`n--$($Matches['b'])")
    if ($parts.Length -lt 2 -or -not $parts[-1].StartsWith('--', [StringComparison]::Ordinal)) { throw (New-CommandError 'the multipart body is cut short' $script:BodyError 'InvalidData') }
    for ($i = 1; $i -lt $parts.Length - 1; $i++) {
        $cut = $parts[$i].IndexOf("`r`n`r`n", [StringComparison]::Ordinal)
        if ($cut -lt 0) { throw (New-CommandError 'a part of the multipart body has no end of its headers' $script:BodyError 'InvalidData') }
        $head = [System.Text.Encoding]::UTF8.GetString([System.Text.Encoding]::Latin1.GetBytes($parts[$i].Substring(0, $cut)))
        $content = [System.Text.Encoding]::Latin1.GetBytes($parts[$i].Substring($cut + 4))
        if ($head -notmatch '(?im)^content-disposition:.*?[;\s]name=("(?<name>[^"]*)"|(?<name>[^;\s"]+))') { continue }
        $name = $Matches['name']
        $known = $Result.Data[$name]
        if ($head -match '(?im)^content-disposition:.*?[;\s]filename=("(?<file>[^"]*)"|(?<file>[^;\s"]+))') {
            $file = [System.IO.Path]::GetFileName($Matches['file'])
            $type = if ($head -match '(?im)^content-type:\s*(?<type>\S+)') { $Matches['type'] } else { '' }
            if ($file) { $Result.Files[$file] = @{ FileName = $file; ContentType = $type; Bytes = $content } }
            $Result.Data[$name] = if ($null -ne $known) { @($known) + $file } else { $file }
            continue
        }
        $value = [System.Text.Encoding]::UTF8.GetString($content)
        $Result.Data[$name] = if ($null -ne $known) { "$known,$value" } else { $value }
    }
}
