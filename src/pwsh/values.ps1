# Tagged values, metadata and parameters, between PowerShell's types and plain objects.

Set-StrictMode -Version Latest

# Throws on a lone surrogate, where the default encoding would put U+FFFD without a word.
$script:StrictUtf8 = [System.Text.UTF8Encoding]::new($false, $true)

# A SecureString holds no more characters than this.
$script:MaxSecureString = 65536

# A secret as a vault gave it, as `{t, v}`.
function ConvertTo-BridgeValue($Value) {
    if ($null -eq $Value) { throw (New-BridgeError 'ValueTypeNotSupported' 'a value is null') }
    # `-is` and casts see through the PSObject that a vault may have wrapped a value in.
    if ($Value -is [string]) { return [ordered]@{ t = 'string'; v = Assert-BridgeText ([string]$Value) } }
    if ($Value -is [securestring]) {
        return [ordered]@{ t = 'securestring'; v = Assert-BridgeText (ConvertFrom-BridgeSecureString $Value) }
    }
    if ($Value -is [byte[]]) { return [ordered]@{ t = 'bytes'; v = [Convert]::ToBase64String([byte[]]$Value) } }
    if ($Value -is [System.Collections.IDictionary]) {
        $members = [System.Collections.Specialized.OrderedDictionary]::new([StringComparer]::Ordinal)
        foreach ($entry in $Value.GetEnumerator()) {
            $members[[object](Assert-BridgeText ([string]$entry.Key))] = ConvertTo-BridgeValue $entry.Value
        }
        return [ordered]@{ t = 'hashtable'; v = $members }
    }
    if ($Value -is [pscredential]) {
        $password = Assert-BridgeText (ConvertFrom-BridgeSecureString $Value.Password)
        return [ordered]@{ t = 'credential'; v = [ordered]@{ user = Assert-BridgeText $Value.UserName; password = $password } }
    }
    # A byte array that came through a pipeline on its way: one byte, or a list of them.
    $bytes = ConvertFrom-BridgeByteList $Value
    if ($null -ne $bytes) { return [ordered]@{ t = 'bytes'; v = [Convert]::ToBase64String($bytes) } }
    throw (New-BridgeError 'ValueTypeNotSupported' "a value is of type $($Value.GetType().FullName)")
}

function ConvertFrom-BridgeByteList($Value) {
    if ($Value -is [byte]) { return , [byte[]]@($Value) }
    if ($Value -isnot [object[]] -or $Value.Length -eq 0) { return }
    foreach ($item in $Value) { if ($item -isnot [byte]) { return } }
    , [byte[]]$Value
}

# What a plain `{t, v}` stands for. Texts inside are added to $Secrets, if there is such a list.
function ConvertFrom-BridgeValue([System.Collections.IDictionary] $Tagged, $Secrets) {
    $value = $Tagged['v']
    switch -CaseSensitive ($Tagged['t']) {
        'string' { return Add-BridgeSecret (Assert-BridgeKind $value ([string])) $Secrets }
        'securestring' {
            return ConvertTo-BridgeSecureString (Add-BridgeSecret (Assert-BridgeKind $value ([string])) $Secrets)
        }
        'bytes' {
            $bytes = [byte[]]@()
            try { $bytes = [Convert]::FromBase64String((Assert-BridgeKind $value ([string]))) }
            catch [System.FormatException] { throw (New-BridgeError 'BadCall' 'bytes are not base64') }
            return , $bytes
        }
        'hashtable' {
            return ConvertFrom-BridgeTable (Assert-BridgeKind $value ([System.Collections.IDictionary])) $Secrets
        }
        'credential' {
            $fields = Assert-BridgeKind $value ([System.Collections.IDictionary])
            $password = Add-BridgeSecret (Get-BridgeText $fields 'password') $Secrets
            $user = Get-BridgeText $fields 'user'
            if ($user -eq '') { throw (New-BridgeError 'ValueNotRepresentable' 'a PSCredential has a user name') }
            return [pscredential]::new($user, (ConvertTo-BridgeSecureString $password))
        }
    }
    throw (New-BridgeError 'BadCall' "there is no value type '$($Tagged['t'])'")
}

# A Hashtable that compares its keys without case, as PowerShell's own do.
function ConvertFrom-BridgeTable([System.Collections.IDictionary] $Members, $Secrets) {
    $table = @{}
    foreach ($entry in $Members.GetEnumerator()) {
        if ($table.ContainsKey($entry.Key)) {
            throw (New-BridgeError 'ValueNotRepresentable' "the table has two members '$($entry.Key)' that differ in case only")
        }
        $table[$entry.Key] = ConvertFrom-BridgeValue $entry.Value $Secrets
    }
    $table
}

# .NET builds it in one go; character by character takes a second for the longest. A NUL would go in,
# but SecretManagement reads SecureStrings back to the first NUL only.
function ConvertTo-BridgeSecureString([string] $Text) {
    if ($Text.Contains([char]0)) { throw (New-BridgeError 'ValueNotRepresentable' 'a SecureString with a NUL would be cut there') }
    if ($Text.Length -gt $script:MaxSecureString) {
        throw (New-BridgeError 'ValueNotRepresentable' "a SecureString holds at most $script:MaxSecureString characters")
    }
    $secure = [System.Net.NetworkCredential]::new('', $Text).SecurePassword
    $secure.MakeReadOnly()
    $secure
}

# By its length, not to the first NUL as NetworkCredential reads it.
function ConvertFrom-BridgeSecureString([securestring] $Secure) {
    $pointer = [System.Runtime.InteropServices.Marshal]::SecureStringToBSTR($Secure)
    try { [System.Runtime.InteropServices.Marshal]::PtrToStringBSTR($pointer) }
    finally { [System.Runtime.InteropServices.Marshal]::ZeroFreeBSTR($pointer) }
}

# A secret's metadata as tagged plain objects; other types than the three go as text.
function ConvertTo-BridgeMetadata($Metadata) {
    $plain = [System.Collections.Specialized.OrderedDictionary]::new([StringComparer]::Ordinal)
    if ($null -eq $Metadata) { return $plain }
    foreach ($entry in $Metadata.GetEnumerator()) {
        $value = $entry.Value
        $plain[[object](Assert-BridgeText ([string]$entry.Key))] = if ($value -is [datetime] -or $value -is [datetimeoffset]) {
            [ordered]@{ t = 'date'; v = $value.ToString('o', [cultureinfo]::InvariantCulture) }
        }
        elseif ($value -is [int] -or $value -is [long]) { [ordered]@{ t = 'int'; v = [long]$value } }
        else { [ordered]@{ t = 'string'; v = Assert-BridgeText ([string]$value) } }
    }
    $plain
}

function ConvertFrom-BridgeMetadata([System.Collections.IDictionary] $Plain) {
    $metadata = @{}
    foreach ($entry in $Plain.GetEnumerator()) {
        $value = $entry.Value['v']
        $metadata[$entry.Key] = switch -CaseSensitive ($entry.Value['t']) {
            'string' { Assert-BridgeKind $value ([string]) }
            # What does not fit an int stays a long, for the vault to judge.
            'int' { $value }
            'date' {
                $date = [datetime]::MinValue
                $style = [System.Globalization.DateTimeStyles]::RoundtripKind
                if (-not [datetime]::TryParse($value, [cultureinfo]::InvariantCulture, $style, [ref] $date)) {
                    throw (New-BridgeError 'BadCall' "the metadata '$($entry.Key)' is no date")
                }
                $date
            }
            default { throw (New-BridgeError 'BadCall' "there is no metadata type '$_'") }
        }
    }
    $metadata
}

# Plain JSON as VaultParameters: Hashtables without case in place of the ordered ones.
function ConvertFrom-BridgeParameter($Value, $Secrets) {
    if ($Value -is [System.Collections.IDictionary]) {
        $table = @{}
        foreach ($entry in $Value.GetEnumerator()) {
            $table[$entry.Key] = ConvertFrom-BridgeParameter $entry.Value $Secrets
        }
        return $table
    }
    if ($Value -is [object[]]) {
        $list = [object[]]::new($Value.Length)
        for ($i = 0; $i -lt $list.Length; $i++) { $list[$i] = ConvertFrom-BridgeParameter $Value[$i] $Secrets }
        return , $list
    }
    if ($Value -is [string]) { return Add-BridgeSecret $Value $Secrets }
    $Value
}

# Where SecretManagement hands something else to the extension than was given: it reads its registry back
# by ConvertFrom-Json, and takes every item of a list for an object.
function Find-BridgeChangedParameter($Value, [string] $Path) {
    if ($Value -is [System.Collections.IDictionary]) {
        foreach ($entry in $Value.GetEnumerator()) { Find-BridgeChangedParameter $entry.Value $(if ($Path) { "$Path.$($entry.Key)" } else { $entry.Key }) }
    }
    elseif ($Value -is [object[]]) {
        foreach ($item in $Value) {
            if ($item -isnot [System.Collections.IDictionary]) { return "$Path is a list, whose items that are no tables become empty ones" }
        }
        foreach ($item in $Value) { Find-BridgeChangedParameter $item $Path }
    }
    elseif ($Value -is [string] -and $Value -match '^(\d{4}-\d\d-\d\dT\d\d:\d\d|/Date\()') { "$Path is a text that becomes a date" }
}

function Assert-BridgeText([string] $Text) {
    try { $null = $script:StrictUtf8.GetByteCount($Text) }
    catch { throw (New-BridgeError 'ValueNotRepresentable' 'a text has a lone surrogate, which UTF-8 cannot hold') }
    $Text
}

function Assert-BridgeKind($Value, [type] $Type) {
    if (-not $Type.IsInstanceOfType($Value)) { throw (New-BridgeError 'BadCall' 'a value does not fit its tag') }
    $Value
}

# A field of a call that must be a string.
function Get-BridgeText([System.Collections.IDictionary] $Fields, [string] $Name) {
    $text = $Fields[$Name]
    if ($text -isnot [string]) { throw (New-BridgeError 'BadCall' "the field '$Name' is missing or no string") }
    $text
}

function Add-BridgeSecret([string] $Text, $Secrets) {
    if ($null -ne $Secrets) { $Secrets.Add($Text) }
    $Text
}
