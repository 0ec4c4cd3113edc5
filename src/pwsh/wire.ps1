# Lines of the channel, and JSON as plain objects. System.Text.Json throughout: PowerShell's own JSON
# cmdlets lose types, stop at a depth and turn date-like strings into dates.

Set-StrictMode -Version Latest

$script:MaxLine = 64MB
$script:BlockSize = 64KB

# Begin..Filled is what was read and not yet given out; no line feed lies before Scanned.
$script:Source = $null
$script:Sink = $null
$script:Buffer = $null
$script:Begin = 0
$script:Scanned = 0
$script:Filled = 0

$script:Memory = $null
$script:JsonWriter = $null

function Open-BridgeWire([System.IO.Stream] $Source, [System.IO.Stream] $Sink) {
    $script:Source = $Source
    $script:Sink = $Sink
    $script:Buffer = [byte[]]::new($script:BlockSize)
    $script:Begin = $script:Scanned = $script:Filled = 0
    New-BridgeMemory
}

function New-BridgeMemory {
    $options = [System.Text.Json.JsonWriterOptions]::new()
    $options.Encoder = [System.Text.Encodings.Web.JavaScriptEncoder]::UnsafeRelaxedJsonEscaping
    $script:Memory = [System.IO.MemoryStream]::new($script:BlockSize)
    $script:JsonWriter = [System.Text.Json.Utf8JsonWriter]::new($script:Memory, $options)
}

# The next line's bytes without its line feed; nothing at the end of the stream. A half line at the end
# is dropped: its writer died.
function Read-BridgeLine {
    while ($true) {
        $at = [Array]::IndexOf($script:Buffer, [byte]10, $script:Scanned, $script:Filled - $script:Scanned)
        if ($at -ge 0) { return , (Split-BridgeLine $at) }
        $script:Scanned = $script:Filled
        if ($script:Filled -eq $script:Buffer.Length) { Expand-BridgeBuffer }
        $count = $script:Source.Read($script:Buffer, $script:Filled, $script:Buffer.Length - $script:Filled)
        if ($count -eq 0) { return }
        $script:Filled += $count
    }
}

# Takes the line that ends before $End out of the buffer, and wipes it there.
function Split-BridgeLine([int] $End) {
    $length = $End - $script:Begin
    $line = [byte[]]::new($length)
    [Buffer]::BlockCopy($script:Buffer, $script:Begin, $line, 0, $length)
    [Array]::Clear($script:Buffer, $script:Begin, $length)
    $script:Begin = $script:Scanned = $End + 1
    if ($script:Begin -eq $script:Filled) {
        $script:Begin = $script:Scanned = $script:Filled = 0
        # One large value must not cost its size for the rest of the worker's life.
        if ($script:Buffer.Length -gt 1MB) { $script:Buffer = [byte[]]::new($script:BlockSize) }
    }
    , $line
}

# Makes room behind what is in the buffer: moves it to the front, or doubles the buffer.
function Expand-BridgeBuffer {
    $length = $script:Filled - $script:Begin
    if ($length -ge $script:MaxLine) { throw 'a line is longer than the protocol allows' }
    $larger = $script:Buffer
    if ($script:Begin -eq 0) { $larger = [byte[]]::new($script:Buffer.Length * 2) }
    [Buffer]::BlockCopy($script:Buffer, $script:Begin, $larger, 0, $length)
    $script:Buffer = $larger
    $script:Scanned -= $script:Begin
    $script:Begin = 0
    $script:Filled = $length
}

# The next line as a plain object; nothing at the end of the stream. Throws where it is not JSON.
function Read-BridgeMessage {
    $line = Read-BridgeLine
    if ($null -eq $line) { return }
    $document = [System.Text.Json.JsonDocument]::Parse([System.ReadOnlyMemory[byte]]::new($line))
    try { ConvertFrom-BridgeJson $document.RootElement }
    finally {
        $document.Dispose()
        [Array]::Clear($line)
    }
}

# Strings, which are most of what comes, are read where they stand: a call of a function costs more than
# all that is done for one. Kinds are compared by number for the same reason.
function ConvertFrom-BridgeJson([System.Text.Json.JsonElement] $Element) {
    $kind = [int]$Element.ValueKind
    if ($kind -eq 1) {
        $object = [System.Collections.Specialized.OrderedDictionary]::new([StringComparer]::Ordinal)
        foreach ($member in $Element.EnumerateObject()) {
            $value = $member.Value
            if ([int]$value.ValueKind -eq 3) { $object[[object]$member.Name] = $value.GetString() }
            else { $object[[object]$member.Name] = ConvertFrom-BridgeJson $value }
        }
        return $object
    }
    if ($kind -eq 2) {
        $list = [object[]]::new($Element.GetArrayLength())
        $at = 0
        foreach ($item in $Element.EnumerateArray()) {
            if ([int]$item.ValueKind -eq 3) { $list[$at++] = $item.GetString() }
            else { $list[$at++] = ConvertFrom-BridgeJson $item }
        }
        return , $list
    }
    if ($kind -eq 3) { return $Element.GetString() }
    if ($kind -eq 4) {
        [int] $int = 0
        if ($Element.TryGetInt32([ref] $int)) { return $int }
        [long] $long = 0
        if ($Element.TryGetInt64([ref] $long)) { return $long }
        return $Element.GetDouble()
    }
    if ($kind -eq 5) { return $true }
    if ($kind -eq 6) { return $false }
    return $null
}

# Writes a plain object as one line, in one piece.
function Write-BridgeLine([System.Collections.IDictionary] $Line) {
    $memory = $script:Memory
    try {
        $memory.SetLength(0)
        $script:JsonWriter.Reset($memory)
        Write-BridgeJson $script:JsonWriter $Line
        $script:JsonWriter.Flush()
        if ($memory.Length -ge $script:MaxLine) {
            throw (New-BridgeError 'ValueNotRepresentable' 'the value is longer than a line of the protocol may be')
        }
        $memory.WriteByte(10)
        $script:Sink.Write($memory.GetBuffer(), 0, [int]$memory.Length)
        $script:Sink.Flush()
    }
    finally {
        [Array]::Clear($memory.GetBuffer(), 0, [int]$memory.Length)
        if ($memory.Capacity -gt 1MB) { New-BridgeMemory }
    }
}

# Strings are written where they stand, as they are read above.
function Write-BridgeJson([System.Text.Json.Utf8JsonWriter] $Writer, $Value) {
    if ($null -eq $Value) { $Writer.WriteNullValue() }
    elseif ($Value -is [string]) { $Writer.WriteStringValue([string]$Value) }
    elseif ($Value -is [System.Collections.IDictionary]) {
        $Writer.WriteStartObject()
        foreach ($entry in $Value.GetEnumerator()) {
            $item = $entry.Value
            if ($item -is [string]) { $Writer.WriteString([string]$entry.Key, [string]$item) }
            else {
                $Writer.WritePropertyName([string]$entry.Key)
                Write-BridgeJson $Writer $item
            }
        }
        $Writer.WriteEndObject()
    }
    elseif ($Value -is [bool]) { $Writer.WriteBooleanValue([bool]$Value) }
    elseif ($Value -is [int] -or $Value -is [long]) { $Writer.WriteNumberValue([long]$Value) }
    elseif ($Value -is [double]) { $Writer.WriteNumberValue([double]$Value) }
    elseif ($Value -is [System.Collections.IEnumerable]) {
        $Writer.WriteStartArray()
        foreach ($item in $Value) {
            if ($item -is [string]) { $Writer.WriteStringValue([string]$item) } else { Write-BridgeJson $Writer $item }
        }
        $Writer.WriteEndArray()
    }
    else { $Writer.WriteStringValue([string]$Value) }
}

# Sends a line for the log, with the call's secret texts taken out.
function Write-BridgeLog([string] $Level, [string] $Message, $Secrets) {
    $text = Hide-BridgeSecret $Message $Secrets
    Write-BridgeLine @{ log = [ordered]@{ level = $Level; message = $text } }
}

# Sends a record of PowerShell's other streams to the log; anything else is output, and dropped.
function Write-BridgeRecord($Record, $Secrets) {
    $level = switch ($Record) {
        { $_ -is [System.Management.Automation.WarningRecord] } { 'warning' }
        { $_ -is [System.Management.Automation.InformationRecord] } { 'information' }
        { $_ -is [System.Management.Automation.VerboseRecord] } { 'verbose' }
        { $_ -is [System.Management.Automation.DebugRecord] } { 'debug' }
    }
    if ($null -ne $level) { Write-BridgeLog $level "$Record" $Secrets }
}
