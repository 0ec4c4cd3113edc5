# Asks, portable values and errors.

Set-StrictMode -Version Latest

# Throws on a lone surrogate, where the default encoding would put U+FFFD without a word.
$script:StrictUtf8 = [System.Text.UTF8Encoding]::new($false, $true)
$script:SerializeDepth = 10
# Texts of secrets that this request has read or written: starred out of what goes to the log.
$script:Seen = [System.Collections.Generic.HashSet[string]]::new()
# Shorter ones would star out half of every message.
$script:ShortestSecret = 3

function Add-SeenSecret($Value, [int] $Depth = 0) {
    if ($Value -is [string]) { if ($Value.Length -ge $script:ShortestSecret) { $null = $script:Seen.Add($Value) } }
    elseif ($null -eq $Value -or $Value -is [ValueType] -or $Value -is [byte[]] -or $Depth -gt $script:SerializeDepth) { return }
    elseif ($Value -is [securestring]) { Add-SeenSecret (ConvertFrom-SecureText $Value) }
    elseif ($Value -is [pscredential]) { Add-SeenSecret (ConvertFrom-SecureText $Value.Password) }
    elseif ($Value -is [System.Collections.IDictionary]) { foreach ($item in $Value.Values) { Add-SeenSecret $item ($Depth + 1) } }
    elseif ($Value -is [System.Collections.IList]) { foreach ($item in $Value) { Add-SeenSecret $item ($Depth + 1) } }
    elseif ($Value -is [System.Management.Automation.PSCustomObject]) { foreach ($item in $Value.psobject.Properties) { Add-SeenSecret $item.Value ($Depth + 1) } }
}

# The longest first: a short one may be a part of it, and would leave the rest to be read.
function Hide-SeenSecret([string] $Text) {
    if ($script:Seen.Count -eq 0) { return $Text }
    foreach ($secret in $script:Seen | Sort-Object -Property Length -Descending) { $Text = $Text.Replace($secret, '***') }
    $Text
}

# Asks the core, which first hears what was changed in shared objects; the fault of an answer is thrown with
# the core's message.
function Request-Core([System.Collections.IDictionary] $What) {
    if ($script:Held.Count) { Send-SharedChange }
    return , (Request-BridgeAnswer $What)
}

# An error of a command, as Pode's `throw` of a text, with an id to tell it by.
function New-CommandError([string] $Message, [string] $Id = 'PodeCommand', [string] $Category = 'InvalidOperation') {
    [System.Management.Automation.ErrorRecord]::new([System.InvalidOperationException]::new($Message), $Id, $Category, $null)
}

# An error with a place in a script, as the core reports it.
function New-PlacedError([string] $Message, [string] $Id, $Extent) {
    $record = New-CommandError $Message $Id 'InvalidOperation'
    $position = [ordered]@{ line = $Extent.StartLineNumber; column = $Extent.StartColumnNumber }
    if ($Extent.File) { $position['script'] = $Extent.File }
    $record.Exception.Data['SecretBridge.Fault'] = [ordered]@{
        id = $Id; kind = 'System.InvalidOperationException'; category = 'InvalidOperation'; message = $Message; position = $position
    }
    $record
}

# The script line of an error: the first place that is not in the program's own files.
function Get-ScriptPosition([System.Management.Automation.ErrorRecord] $Record) {
    $own = [System.IO.Path]::GetDirectoryName($PSScriptRoot)
    $at = $Record.InvocationInfo
    $place = $null
    if ($null -ne $at -and $at.ScriptLineNumber -gt 0 -and $at.ScriptName -and -not $at.ScriptName.StartsWith($own, [StringComparison]::Ordinal)) {
        $place = [ordered]@{ script = $at.ScriptName; line = $at.ScriptLineNumber; column = [Math]::Max(1, $at.OffsetInLine) }
    }
    # The stack is the surer of the two: a binding error's own place is that of an outer command.
    foreach ($match in [regex]::Matches([string]$Record.ScriptStackTrace, '(?m), (?<file>[^\r\n]+): line (?<line>\d+)\r?$')) {
        $file = $match.Groups['file'].Value
        $line = [int]$match.Groups['line'].Value
        if ($file.StartsWith($own, [StringComparison]::Ordinal) -or $file -eq '<No file>') { continue }
        if ($null -ne $place -and $place['script'] -eq $file -and $place['line'] -eq $line) { break }
        return [ordered]@{ script = $file; line = $line; column = 1 }
    }
    $place
}

# The fault of an error: the core's own as it came, with the script's line added.
function ConvertTo-ScriptFault([System.Management.Automation.ErrorRecord] $Record) {
    $position = Get-ScriptPosition $Record
    $known = $Record.Exception.Data['SecretBridge.Fault']
    if ($null -ne $known) {
        $fault = [ordered]@{}
        foreach ($entry in $known.GetEnumerator()) { $fault[$entry.Key] = $entry.Value }
        $fault['message'] = Hide-SeenSecret ([string]$fault['message'])
        if ($null -ne $position -and -not $fault.Contains('position')) { $fault['position'] = $position }
        return $fault
    }
    $exception = $Record.Exception
    # A binding error says which parameter; what is inside it does not.
    while ($null -ne $exception.InnerException -and $exception -is [System.Management.Automation.RuntimeException] -and
        $exception -isnot [System.Management.Automation.ParameterBindingException]) { $exception = $exception.InnerException }
    $message = Hide-SeenSecret $exception.Message
    if ($message.Length -gt 4000) { $message = $message.Substring(0, 4000) }
    $fault = [ordered]@{
        # The id of a thrown text is that text.
        id       = (Hide-SeenSecret ([string]$Record.FullyQualifiedErrorId)).Split(',')[0]
        kind     = $exception.GetType().FullName
        category = [string]$Record.CategoryInfo.Category
        message  = $message
    }
    if ($null -ne $position) { $fault['position'] = $position }
    $fault
}

# An error whose fault is final: what passes through here is answered as it is.
function New-FaultError([System.Management.Automation.ErrorRecord] $Record) {
    $fault = ConvertTo-ScriptFault $Record
    $exception = [System.InvalidOperationException]::new([string]$fault['message'])
    $exception.Data['SecretBridge.Fault'] = $fault
    [System.Management.Automation.ErrorRecord]::new($exception, [string]$fault['id'], $Record.CategoryInfo.Category, $null)
}

function Assert-PortableText([string] $Text) {
    try { $null = $script:StrictUtf8.GetByteCount($Text) }
    catch { throw (New-CommandError 'a text has a lone surrogate, which UTF-8 cannot hold' 'ValueNotRepresentable' 'InvalidData') }
    $Text
}

function ConvertFrom-SecureText([securestring] $Secure) {
    $pointer = [System.Runtime.InteropServices.Marshal]::SecureStringToBSTR($Secure)
    try { [System.Runtime.InteropServices.Marshal]::PtrToStringBSTR($pointer) }
    finally { [System.Runtime.InteropServices.Marshal]::ZeroFreeBSTR($pointer) }
}

function ConvertTo-SecureText([string] $Text) {
    $secure = [System.Net.NetworkCredential]::new('', $Text).SecurePassword
    $secure.MakeReadOnly()
    $secure
}

# One of the five types of a secret as `{t, v}`, or nothing where it is none.
function ConvertTo-SecretTag($Base) {
    if ($Base -is [string]) { return [ordered]@{ t = 'string'; v = Assert-PortableText $Base } }
    if ($Base -is [securestring]) { return [ordered]@{ t = 'securestring'; v = Assert-PortableText (ConvertFrom-SecureText $Base) } }
    if ($Base -is [byte[]]) { return [ordered]@{ t = 'bytes'; v = [Convert]::ToBase64String($Base) } }
    if ($Base -is [pscredential]) {
        return [ordered]@{ t = 'credential'; v = [ordered]@{ user = Assert-PortableText $Base.UserName; password = Assert-PortableText (ConvertFrom-SecureText $Base.Password) } }
    }
    if ($Base -isnot [hashtable]) { return }
    $members = [System.Collections.Specialized.OrderedDictionary]::new([StringComparer]::Ordinal)
    foreach ($entry in $Base.GetEnumerator()) {
        if ($entry.Key -isnot [string] -or $null -eq $entry.Value) { return }
        $tag = ConvertTo-SecretTag $entry.Value
        if ($null -eq $tag) { return }
        $members[[object](Assert-PortableText $entry.Key)] = $tag
    }
    [ordered]@{ t = 'hashtable'; v = $members }
}

# Any value in the form that travels. What has no form of its own goes as CLIXML: a copy, without methods.
function ConvertTo-Portable($Value) {
    if ($null -eq $Value) { return [ordered]@{ t = 'null' } }
    $base = $Value
    if ($base -is [string]) { return [ordered]@{ t = 'string'; v = Assert-PortableText $base } }
    if ($base -is [bool]) { return [ordered]@{ t = 'bool'; v = $base } }
    if ($base -is [int] -or $base -is [long]) { return [ordered]@{ t = 'int'; v = [long]$base } }
    if ($base -is [scriptblock]) { return [ordered]@{ t = 'block'; v = ConvertTo-Block $base $null } }
    $tag = ConvertTo-SecretTag $base
    if ($null -ne $tag) { return $tag }
    [ordered]@{ t = 'clixml'; v = Assert-PortableText ([System.Management.Automation.PSSerializer]::Serialize($Value, $script:SerializeDepth)) }
}

function ConvertFrom-Portable([System.Collections.IDictionary] $Tagged) {
    $value = $Tagged['v']
    switch -CaseSensitive ([string]$Tagged['t']) {
        'string' { return $value }
        'null' { return $null }
        'int' { return $value }
        'bool' { return [bool]$value }
        'securestring' { return ConvertTo-SecureText $value }
        'bytes' { return , [Convert]::FromBase64String($value) }
        'credential' { return [pscredential]::new($value['user'], (ConvertTo-SecureText $value['password'])) }
        'block' { return (New-CompiledBlock $value).ScriptBlock }
        'hashtable' {
            $table = @{}
            foreach ($entry in $value.GetEnumerator()) { $table[$entry.Key] = ConvertFrom-Portable $entry.Value }
            return $table
        }
        'clixml' {
            $object = [System.Management.Automation.PSSerializer]::Deserialize($value)
            # An array comes back as a list that says what it was.
            if ($object -is [System.Collections.ArrayList] -and @($object.pstypenames) -like '*`[`]') { return , $object.ToArray() }
            return , $object
        }
    }
    throw (New-CommandError "there is no value type '$($Tagged['t'])'" 'BadCall' 'InvalidArgument')
}

function ConvertTo-PortableList($Values) {
    $list = [System.Collections.Generic.List[object]]::new()
    if ($null -ne $Values) { foreach ($value in $Values) { $list.Add((ConvertTo-Portable $value)) } }
    return , $list.ToArray()
}

function ConvertFrom-PortableList($Values) {
    $list = [System.Collections.Generic.List[object]]::new()
    if ($null -ne $Values) { foreach ($value in $Values) { $list.Add((ConvertFrom-Portable $value)) } }
    return , $list.ToArray()
}

# Whether a value means the same in another process.
function Test-PlainValue($Value, [int] $Depth = 0) {
    if ($null -eq $Value -or $Depth -gt $script:SerializeDepth) { return $true }
    $base = $Value
    if ($base -is [string] -or $base -is [ValueType] -or $base -is [securestring] -or $base -is [pscredential] -or
        $base -is [scriptblock] -or $base -is [uri] -or $base -is [version] -or $base -is [byte[]]) { return $true }
    if ($base -is [System.Collections.IDictionary]) {
        foreach ($item in $base.Values) { if (-not (Test-PlainValue $item ($Depth + 1))) { return $false } }
        return $true
    }
    if ($base -is [array] -or $base -is [System.Collections.IList]) {
        foreach ($item in $base) { if (-not (Test-PlainValue $item ($Depth + 1))) { return $false } }
        return $true
    }
    if ($base -is [System.Management.Automation.PSCustomObject]) {
        foreach ($item in $Value.psobject.Properties) { if (-not (Test-PlainValue $item.Value ($Depth + 1))) { return $false } }
        return $true
    }
    $false
}

# Warns once where a copy of a live object is all that the workers get.
function Write-CopyWarning([string] $What, $Value) {
    if (-not (Test-PlainValue $Value) -and $script:Bridge.Warned.Add($What)) {
        Write-ScriptLog 'warning' "$What is a $($Value.GetType().FullName): the workers get a copy of its properties, without its methods"
    }
}

# A line for the log; it waits for nothing.
function Write-ScriptLog([string] $Level, [string] $Message) {
    Write-BridgeLog $Level (Hide-SeenSecret $Message) $null
}

# What a block wrote to the other streams, as log lines. Its output is nobody's.
function Write-StreamRecord($Record) {
    if ($Record -is [System.Management.Automation.ErrorRecord]) {
        $fault = ConvertTo-ScriptFault $Record
        $at = if ($fault.Contains('position')) { " ($($fault['position']['script']):$($fault['position']['line']))" } else { '' }
        Write-ScriptLog 'error' "$($fault['message'])$at"
    }
    elseif ($Record -is [System.Management.Automation.WarningRecord]) { Write-ScriptLog 'warning' "$Record" }
    elseif ($Record -is [System.Management.Automation.InformationRecord]) { Write-ScriptLog 'information' "$Record" }
    elseif ($Record -is [System.Management.Automation.VerboseRecord]) { Write-ScriptLog 'verbose' "$Record" }
    elseif ($Record -is [System.Management.Automation.DebugRecord]) { Write-ScriptLog 'debug' "$Record" }
}

function Test-StreamRecord($Record) {
    $Record -is [System.Management.Automation.InformationalRecord] -or $Record -is [System.Management.Automation.InformationRecord] -or
    $Record -is [System.Management.Automation.ErrorRecord]
}
