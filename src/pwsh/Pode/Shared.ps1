# Objects that the script's blocks share: the tables of custom vaults, what `$using:` and `$state:` hold.
# The core keeps the one that counts, with the number of its version; here is a copy of each that this
# process has met, always the same object, so that whoever holds it sees what others changed.
#
# A copy is made new in place, and what was changed in it is found by its text: canonical JSON, in which
# equal objects are equal. What cannot travel is named in the text by its type, and stays in its place.

Set-StrictMode -Version Latest

# The copies, by the objects' numbers: Live, Version, and the Text of that version.
$script:Copies = @{}
# Copies that the running request holds, besides the tables of the vaults whose blocks it is in.
$script:Held = [System.Collections.Generic.HashSet[long]]::new()
$script:TablesInUse = [System.Collections.Generic.List[long]]::new()
[SecretBridge.Pode.Shared]::Held = $script:Held
[SecretBridge.Pode.Shared]::Send = { param($Release) Send-SharedChange -Release:$Release }
[SecretBridge.Pode.Shared]::Refresh = { Update-SharedCopy }
[SecretBridge.Portable]::ToShared = { , (Get-SharedObject $args[0]).Live }

$script:MaxSharedDepth = 64
$script:PlainNumbers = [System.Collections.Generic.HashSet[type]]::new([type[]]@(
        [byte], [sbyte], [int16], [uint16], [uint32], [long], [ulong], [single], [double], [decimal], [bigint]
    ))
$script:NumberTypes = @{}
foreach ($type in $script:PlainNumbers) { $script:NumberTypes[$type.Name] = $type }
# Lists, and tables, that are made without an argument and filled by one method.
$script:Fillers = @{
    'System.Collections.Queue' = 'Enqueue'; 'System.Collections.Stack' = 'Push'
    'System.Collections.Generic.Queue`1' = 'Enqueue'; 'System.Collections.Generic.Stack`1' = 'Push'
    'System.Collections.Generic.List`1' = 'Add'; 'System.Collections.Generic.HashSet`1' = 'Add'; 'System.Collections.Generic.SortedSet`1' = 'Add'
    'System.Collections.ObjectModel.Collection`1' = 'Add'; 'System.Collections.Concurrent.ConcurrentQueue`1' = 'Enqueue'
    'System.Collections.Concurrent.ConcurrentStack`1' = 'Push'; 'System.Collections.Concurrent.ConcurrentBag`1' = 'Add'
}
$script:TableTypes = [System.Collections.Generic.HashSet[string]]::new([string[]]@(
        'System.Collections.Generic.Dictionary`2', 'System.Collections.Generic.SortedDictionary`2', 'System.Collections.Concurrent.ConcurrentDictionary`2'
        'System.Collections.SortedList', 'System.Management.Automation.OrderedHashtable'
    ))
$script:BlockTexts = [System.Runtime.CompilerServices.ConditionalWeakTable[object, object]]::new()
$script:SyncTable = [hashtable]::Synchronized(@{}).GetType()
$script:SyncList = [System.Collections.ArrayList]::Synchronized([System.Collections.ArrayList]::new()).GetType()

# === to text ===

# An object's text, and the places of what cannot travel, each with its type.
function ConvertTo-SharedText($Value) {
    $options = [System.Text.Json.JsonWriterOptions]::new()
    $options.Encoder = [System.Text.Encodings.Web.JavaScriptEncoder]::UnsafeRelaxedJsonEscaping
    $memory = [System.IO.MemoryStream]::new()
    $writer = [System.Text.Json.Utf8JsonWriter]::new($memory, $options)
    $state = @{
        Writer = $writer; Known = [System.Collections.Generic.Dictionary[object, int]]::new([System.Collections.Generic.ReferenceEqualityComparer]::Instance)
        Path = [System.Collections.Generic.List[string]]::new(); Stays = [System.Collections.Generic.List[string]]::new()
    }
    Write-SharedNode $state $Value
    $writer.Flush()
    $text = [System.Text.Encoding]::UTF8.GetString($memory.GetBuffer(), 0, [int]$memory.Length)
    [Array]::Clear($memory.GetBuffer(), 0, [int]$memory.Length)
    @{ Text = $text; Stays = $state.Stays.ToArray() }
}

function Write-SharedNode($State, $Value) {
    $writer = $State.Writer
    if ($null -eq $Value) { $writer.WriteNullValue(); return }
    if ($Value -is [string]) { $writer.WriteStringValue([string]([SecretBridge.Values]::Checked($Value))); return }
    if ($Value -is [bool]) { $writer.WriteBooleanValue([bool]$Value); return }
    if ($Value -is [int]) { $writer.WriteNumberValue([int]$Value); return }
    $base = $Value.psobject.BaseObject
    $simple = Get-SimpleNode $base
    if ($null -ne $simple) {
        $writer.WriteStartArray()
        foreach ($text in $simple) { $writer.WriteStringValue([string]$text) }
        $writer.WriteEndArray()
        return
    }
    # An object made of members alone has no base of its own.
    $identity = if ($base -is [System.Management.Automation.PSCustomObject]) { $Value } else { , $base }
    $at = 0
    if ($State.Known.TryGetValue($identity, [ref]$at)) {
        $writer.WriteStartArray(); $writer.WriteStringValue('ref'); $writer.WriteNumberValue($at); $writer.WriteEndArray()
        return
    }
    $kind = Get-ContainerKind $base
    if ($null -eq $kind -or $State.Path.Count -ge $script:MaxSharedDepth) {
        $type = "$($base.GetType())"
        $State.Stays.Add("'$($State.Path -join '.')' ($type)")
        $writer.WriteStartArray(); $writer.WriteStringValue('stays'); $writer.WriteStringValue($type); $writer.WriteEndArray()
        return
    }
    $State.Known.Add($identity, $State.Known.Count)
    $writer.WriteStartArray()
    $writer.WriteStringValue($kind[0]); $writer.WriteStringValue($kind[1])
    switch ($kind[0]) {
        'table' { Write-SharedTable $State $base }
        'object' { foreach ($property in $Value.psobject.Properties) { if ($property.MemberType -eq 'NoteProperty') { Write-SharedMember $State $property.Name $property.Value } } }
        'list' { $i = 0; foreach ($item in (Get-SharedItem $base)) { $State.Path.Add([string]$i); Write-SharedNode $State $item; $State.Path.RemoveAt($State.Path.Count - 1); $i++ } }
    }
    $writer.WriteEndArray()
}

function Write-SharedMember($State, $Key, $Value) {
    Write-SharedNode $State $Key
    $State.Path.Add([string]$Key)
    Write-SharedNode $State $Value
    $State.Path.RemoveAt($State.Path.Count - 1)
}

# A table without an order of its own is written in the order of its keys.
function Write-SharedTable($State, $Table) {
    if ($Table -is [hashtable] -or $Table.GetType().Name -eq 'ConcurrentDictionary`2') {
        $names = [System.Collections.Generic.List[string]]::new()
        $others = @{}
        foreach ($key in $Table.Keys) {
            $name = [string]$key
            if ($key -isnot [string]) {
                $name = "`0$($key.GetType())`0$name"
                $others[$name] = $key
            }
            $names.Add($name)
        }
        $names.Sort([StringComparer]::Ordinal)
        foreach ($name in $names) {
            $key = if ($others.ContainsKey($name)) { $others[$name] } else { $name }
            Write-SharedMember $State $key $Table[[object]$key]
        }
        return
    }
    foreach ($entry in $Table.GetEnumerator()) { Write-SharedMember $State $entry.Key $entry.Value }
}

# The items of a list, a stack from its bottom.
function Get-SharedItem($List) {
    if ($List.GetType().Name -match 'Stack') {
        $items = @($List.GetEnumerator())
        [Array]::Reverse($items)
        return , $items
    }
    return , $List
}

# A value without members as texts, its kind first; nothing for what has members, or cannot travel.
function Get-SimpleNode($Base) {
    if ($script:PlainNumbers.Contains($Base.GetType())) { return @('number', $Base.GetType().Name, $Base.ToString([cultureinfo]::InvariantCulture)) }
    if ($Base -is [datetime]) { return @('date', $Base.ToString('o', [cultureinfo]::InvariantCulture)) }
    if ($Base -is [char]) { return @('char', [string][int]$Base) }
    if ($Base -is [timespan]) { return @('span', [string]$Base.Ticks) }
    if ($Base -is [datetimeoffset]) { return @('offset', $Base.ToString('o', [cultureinfo]::InvariantCulture)) }
    if ($Base -is [guid]) { return @('guid', $Base.ToString()) }
    if ($Base -is [enum]) { return @('enum', "$($Base.GetType())", $Base.ToString()) }
    if ($Base -is [byte[]]) { return @('bytes', [Convert]::ToBase64String($Base)) }
    if ($Base -is [securestring]) { return @('secure', ([SecretBridge.Values]::Checked([SecretBridge.SecureText]::Reveal($Base)))) }
    if ($Base -is [pscredential]) { return @('credential', ([SecretBridge.Values]::Checked($Base.UserName)), ([SecretBridge.Values]::Checked([SecretBridge.SecureText]::Reveal($Base.Password)))) }
    if ($Base -is [uri] -or $Base -is [version] -or $Base -is [xml]) { return @('clixml', [System.Management.Automation.PSSerializer]::Serialize($Base)) }
    if ($Base -is [scriptblock]) {
        # A block that came in a text goes as it came.
        $known = $null
        if ($script:BlockTexts.TryGetValue($Base, [ref]$known)) { return , $known }
    }
    if ($Base -is [scriptblock] -and $null -eq $Base.Ast.Find({ param($n) $n -is [System.Management.Automation.Language.UsingExpressionAst] }, $true)) {
        $block = ConvertTo-Block $Base $null
        return @('block', $block['text'], $block['file'], [string]$block['line'])
    }
}

# What a container is, and its type; nothing for what cannot travel.
function Get-ContainerKind($Base) {
    $type = $Base.GetType()
    if ($type -eq [hashtable]) { return @('table', $(if (Test-CaseKept $Base) { 'hashtable-case' } else { 'hashtable' })) }
    if ($type -eq $script:SyncTable) { return @('table', $(if (Test-CaseKept $Base) { 'sync-case' } else { 'sync' })) }
    if ($type -eq [System.Collections.Specialized.OrderedDictionary]) { return @('table', $(if (Test-CaseKept $Base) { 'ordered-case' } else { 'ordered' })) }
    if ($type -eq [System.Management.Automation.PSCustomObject]) { return @('object', '') }
    if ($type -eq [System.Collections.ArrayList]) { return @('list', 'arraylist') }
    if ($type -eq $script:SyncList) { return @('list', 'synclist') }
    if ($type -eq [object[]]) { return @('list', 'array') }
    if ($Base -is [array] -and $type.GetArrayRank() -eq 1) { return @('list', "$type") }
    $name = if ($type.IsGenericType) { $type.GetGenericTypeDefinition().FullName } else { $type.FullName }
    # A type of the script's own is another one in each process.
    foreach ($part in $type.GenericTypeArguments) { if ($part.Assembly.IsDynamic) { return } }
    if ($script:Fillers.ContainsKey($name)) { return @('list', "$type") }
    if ($script:TableTypes.Contains($name)) { return @('table', $(if ($type.IsGenericType -and $type.Name -match '^(Dictionary|ConcurrentDictionary)' -and -not (Test-CaseKept $Base)) { "$type~" } else { "$type" })) }
}

# Whether a table tells `a` from `A`. One without names to ask does not.
function Test-CaseKept($Table) {
    foreach ($key in $Table.Keys) {
        if ($key -isnot [string]) { continue }
        $other = $key.ToUpperInvariant()
        if ([string]::Equals($other, $key)) { $other = $key.ToLowerInvariant() }
        if ([string]::Equals($other, $key)) { continue }
        $found = if ($Table -is [hashtable] -or $Table -is [System.Collections.Specialized.OrderedDictionary]) { $Table.Contains($other) } else { $Table.ContainsKey($other) }
        return -not $found -or $Table.Keys -ccontains $other
    }
    $Table -isnot [hashtable] -and $Table -isnot [System.Collections.Specialized.OrderedDictionary]
}

# === from text ===

# The object of a text, in place of an older one where that is of the same kind. What had stayed stays.
function ConvertFrom-SharedText([string] $Text, $Old) {
    $document = [System.Text.Json.JsonDocument]::Parse($Text)
    try { return , (Read-SharedNode $document.RootElement $Old ([System.Collections.Generic.List[object]]::new())) }
    finally { $document.Dispose() }
}

function Read-SharedNode($Node, $Old, $Known) {
    switch ([int]$Node.ValueKind) {
        3 { return $Node.GetString() }
        4 { return $Node.GetInt32() }
        5 { return $true }
        6 { return $false }
        7 { return $null }
    }
    $parts = [System.Text.Json.JsonElement[]]@($Node.EnumerateArray())
    $kind = $parts[0].GetString()
    switch -CaseSensitive ($kind) {
        'ref' { return , $Known[$parts[1].GetInt32()] }
        'stays' { if ($null -ne $Old -and "$($Old.GetType())" -eq $parts[1].GetString()) { return , $Old }; return $null }
        'table' { return , (Read-SharedTable $parts $Old $Known) }
        'list' { return , (Read-SharedList $parts $Old $Known) }
        'object' { return Read-SharedObject $parts $Old $Known }
    }
    return , (Read-SimpleNode $kind ([string[]]@(foreach ($part in $parts) { $part.GetString() })))
}

function Read-SimpleNode([string] $Kind, [string[]] $Texts) {
    switch -CaseSensitive ($Kind) {
        'number' { return $script:NumberTypes[$Texts[1]]::Parse($Texts[2], [cultureinfo]::InvariantCulture) }
        'date' { return [datetime]::Parse($Texts[1], [cultureinfo]::InvariantCulture, 'RoundtripKind') }
        'char' { return [char][int]$Texts[1] }
        'span' { return [timespan]::FromTicks([long]$Texts[1]) }
        'offset' { return [datetimeoffset]::Parse($Texts[1], [cultureinfo]::InvariantCulture, 'RoundtripKind') }
        'guid' { return [guid]$Texts[1] }
        'enum' {
            $type = $Texts[1] -as [type]
            if ($null -eq $type) { return $Texts[2] }
            return $Texts[2] -as $type
        }
        'bytes' { return , [Convert]::FromBase64String($Texts[1]) }
        'secure' { return [SecretBridge.SecureText]::Make($Texts[1]) }
        'credential' { return [pscredential]::new($Texts[1], ([SecretBridge.SecureText]::Make($Texts[2]))) }
        'clixml' { return [System.Management.Automation.PSSerializer]::Deserialize($Texts[1]) }
        'block' {
            $block = (New-CompiledBlock @{ text = $Texts[1]; file = $Texts[2]; line = [int]$Texts[3]; using = @() }).ScriptBlock
            $script:BlockTexts.Add($block, $Texts)
            return $block
        }
    }
    throw (New-CommandError "there is no shared value '$Kind'" 'BadCall' 'InvalidArgument')
}

function New-SharedTable([string] $Kind) {
    switch -CaseSensitive ($Kind) {
        'hashtable' { return @{} }
        'sync' { return , [hashtable]::Synchronized(@{}) }
        'ordered' { return [ordered]@{} }
        'hashtable-case' { return [hashtable]::new([StringComparer]::Ordinal) }
        'sync-case' { return , [hashtable]::Synchronized([hashtable]::new([StringComparer]::Ordinal)) }
        'ordered-case' { return , [System.Collections.Specialized.OrderedDictionary]::new([StringComparer]::Ordinal) }
    }
    if ($Kind.EndsWith([char]'~')) { return , [Activator]::CreateInstance([type]$Kind.TrimEnd('~'), [object[]]@([StringComparer]::OrdinalIgnoreCase)) }
    return , [Activator]::CreateInstance([type]$Kind)
}

# The older object, if it is of the type that a kind names; how it takes case is its own.
function Get-SameContainer([string] $What, [string] $Kind, $Old) {
    if ($null -eq $Old) { return }
    $same = Get-ContainerKind $Old.psobject.BaseObject
    if ($null -ne $same -and $same[0] -ceq $What -and ($same[1] -replace '(-case|~)$') -ceq ($Kind -replace '(-case|~)$')) { return , $Old.psobject.BaseObject }
}

function Read-SharedTable([System.Text.Json.JsonElement[]] $Parts, $Old, $Known) {
    $kind = $Parts[1].GetString()
    $table = Get-SameContainer 'table' $kind $Old
    if ($null -eq $table) { $table = New-SharedTable $kind }
    $Known.Add($table)
    $count = ($Parts.Length - 2) / 2
    $keys = [object[]]::new($count)
    $values = [object[]]::new($count)
    for ($i = 0; $i -lt $count; $i++) {
        $key = Read-SharedNode $Parts[2 + 2 * $i] $null $Known
        $member = $null
        if ($Old -is [System.Collections.IDictionary]) { $member = $Old[[object]$key] }
        $keys[$i] = $key
        $values[$i] = Read-SharedNode $Parts[3 + 2 * $i] $member $Known
    }
    $table.Clear()
    for ($i = 0; $i -lt $count; $i++) { $table[[object]$keys[$i]] = $values[$i] }
    return , $table
}

function Read-SharedList([System.Text.Json.JsonElement[]] $Parts, $Old, $Known) {
    $kind = $Parts[1].GetString()
    $count = $Parts.Length - 2
    $isArray = $kind -eq 'array' -or $kind -match '\[\]$'
    $list = Get-SameContainer 'list' $kind $Old
    $olds = @(if ($null -ne $list) { (Get-SharedItem $list).GetEnumerator() })
    if ($null -eq $list -or ($isArray -and $list.Length -ne $count)) {
        $list = if ($kind -eq 'array') { , [object[]]::new($count) }
        elseif ($isArray) { , [Array]::CreateInstance([type]$kind.Substring(0, $kind.Length - 2), $count) }
        elseif ($kind -eq 'arraylist') { , [System.Collections.ArrayList]::new() }
        elseif ($kind -eq 'synclist') { , [System.Collections.ArrayList]::Synchronized([System.Collections.ArrayList]::new()) }
        else { , [Activator]::CreateInstance([type]$kind) }
    }
    $Known.Add($list)
    $items = [object[]]::new($count)
    for ($i = 0; $i -lt $count; $i++) {
        $member = $null
        if ($i -lt $olds.Length) { $member = $olds[$i] }
        $items[$i] = Read-SharedNode $Parts[2 + $i] $member $Known
    }
    if ($isArray) {
        for ($i = 0; $i -lt $count; $i++) { $list[$i] = $items[$i] }
        return , $list
    }
    $list.Clear()
    $type = $list.GetType()
    $method = if ($kind -in 'arraylist', 'synclist') { 'Add' } else { $script:Fillers[$(if ($type.IsGenericType) { $type.GetGenericTypeDefinition().FullName } else { $type.FullName })] }
    foreach ($item in $items) { $null = $list.$method($item) }
    return , $list
}

function Read-SharedObject([System.Text.Json.JsonElement[]] $Parts, $Old, $Known) {
    $object = if ($Old -is [System.Management.Automation.PSCustomObject]) { $Old } else { [pscustomobject]@{} }
    $Known.Add($object)
    $names = [System.Collections.Generic.HashSet[string]]::new([StringComparer]::OrdinalIgnoreCase)
    for ($i = 2; $i -lt $Parts.Length; $i += 2) {
        $name = $Parts[$i].GetString()
        $null = $names.Add($name)
        $present = $object.psobject.Properties[$name]
        $member = $null
        if ($null -ne $present) { $member = $present.Value }
        $value = Read-SharedNode $Parts[$i + 1] $member $Known
        if ($null -ne $present) { $present.Value = $value } else { $object.psobject.Properties.Add([psnoteproperty]::new($name, $value)) }
    }
    foreach ($property in @($object.psobject.Properties)) { if (-not $names.Contains($property.Name)) { $object.psobject.Properties.Remove($property.Name) } }
    $object
}

# === two changes of one version ===

# The text that holds both changes of a version: ours, and another's. Where both changed the same, ours stands.
function Merge-SharedText([string] $Base, [string] $Ours, [string] $Theirs) {
    if ($Ours -ceq $Base -or $Ours -ceq $Theirs) { return $Theirs }
    if ($Theirs -ceq $Base) { return $Ours }
    $documents = @(foreach ($text in $Base, $Ours, $Theirs) { [System.Text.Json.JsonDocument]::Parse($text) })
    try {
        $nodes = @(foreach ($document in $documents) { , $document.RootElement })
        if (@($nodes).Where({ [int]$_.ValueKind -ne 2 }).Count) { return $Ours }
        # References count the containers before them, which a merge would change.
        if ("$Base$Ours$Theirs".Contains('["ref",')) { return $Ours }
        $kinds = @(foreach ($node in $nodes) { $node[0].GetString() })
        if ($kinds[0] -cne $kinds[1] -or $kinds[0] -cne $kinds[2]) { return $Ours }
        if ($kinds[0] -ceq 'list') { return Merge-SharedList $nodes $Ours }
        if ($kinds[0] -cin 'table', 'object') { return Merge-SharedTable $nodes }
        return $Ours
    }
    finally { foreach ($document in $documents) { $document.Dispose() } }
}

# What both have added to a list is in it.
function Merge-SharedList($Nodes, [string] $Ours) {
    $base, $mine, $theirs = foreach ($node in $Nodes) { , @(for ($i = 2; $i -lt $node.GetArrayLength(); $i++) { $node[$i].GetRawText() }) }
    for ($i = 0; $i -lt $base.Length; $i++) { if ($i -ge $mine.Length -or $i -ge $theirs.Length -or $mine[$i] -cne $base[$i] -or $theirs[$i] -cne $base[$i]) { return $Ours } }
    $head = $Nodes[1][0].GetRawText(), $Nodes[1][1].GetRawText()
    $added = @(for ($i = $base.Length; $i -lt $mine.Length; $i++) { $mine[$i] })
    "[$(@($head) + @($theirs) + @($added) -join ',')]"
}

# Each member by itself.
function Merge-SharedTable($Nodes) {
    $tables = foreach ($node in $Nodes) {
        $members = [System.Collections.Specialized.OrderedDictionary]::new([StringComparer]::Ordinal)
        for ($i = 2; $i -lt $node.GetArrayLength(); $i += 2) { $members[[object]$node[$i].GetRawText()] = $node[$i + 1].GetRawText() }
        $members
    }
    $base, $mine, $theirs = $tables
    $parts = [System.Collections.Generic.List[string]]::new([string[]]@($Nodes[1][0].GetRawText(), $Nodes[1][1].GetRawText()))
    foreach ($key in @($theirs.Keys) + @(@($mine.Keys).Where({ -not $theirs.Contains($_) }))) {
        $was, $ours, $their = $base[[object]$key], $mine[[object]$key], $theirs[[object]$key]
        $merged = if ($ours -ceq $was) { $their } elseif ($their -ceq $was -or $null -in $was, $ours, $their) { $ours } else { Merge-SharedText $was $ours $their }
        if ($null -ne $merged) { $parts.Add($key); $parts.Add($merged) }
    }
    "[$($parts -join ',')]"
}

# === copies ===

# Takes over what the core gives: the copy of that object, made new where it was old. What was changed in
# it and not yet told is kept.
function Receive-Shared([System.Collections.IDictionary] $Given) {
    $id = [long]$Given['id']
    $copy = $script:Copies[$id]
    if ($null -ne $Given['value']) {
        $text = [string]$Given['value']
        if ($null -eq $copy) {
            $copy = $script:Copies[$id] = @{ Id = $id; Live = ConvertFrom-SharedText $text $null; Text = $text; Before = $text; Stays = @(); Version = 0 }
        }
        else {
            $now = (ConvertTo-SharedText $copy.Live).Text
            $copy.Live = ConvertFrom-SharedText (Merge-SharedText $copy.Text $now $text) $copy.Live
            $copy.Text = $text
        }
        $copy.Version = $Given['version']
    }
    if ($null -eq $copy -or $copy.Version -ne $Given['version']) { throw (New-CommandError "there is no copy of the shared object $id" 'BadCall' 'ObjectNotFound') }
    $copy
}

# What to tell the core of a copy, and nothing if it is as it was. From then on that is its next version,
# unless the core says that another was faster.
function Get-SharedChange($Copy, $Found = (ConvertTo-SharedText $Copy.Live)) {
    if ($Found.Text -ceq $Copy.Text) { return }
    [ordered]@{ id = $Copy.Id; version = $Copy.Version; value = $Found.Text }
    $Copy.Before = $Copy.Text
    $Copy.Text = $Found.Text
    $Copy.Version++
}

# Another was faster: the copy gets both changes, and what is then to tell is given.
function Merge-SharedChange([System.Collections.IDictionary] $Given) {
    $copy = $script:Copies[[long]$Given['id']]
    $copy.Text = $copy.Before
    $copy = Receive-Shared $Given
    $found = ConvertTo-SharedText $copy.Live
    $change = Get-SharedChange $copy $found
    if ($null -ne $change) { return $change }
    [ordered]@{ id = $copy.Id; version = $copy.Version; value = $found.Text }
    $copy.Before = $copy.Text
    $copy.Version++
}

# Gives an object of the planning script, or of a route, a number of its own, and the same if it has one.
function Add-SharedObject($Object, $Found = (ConvertTo-SharedText $Object)) {
    $copy = Find-SharedCopy $Object
    if ($null -ne $copy) {
        # From now on it is there for good.
        if ((Request-Core ([ordered]@{ do = 'shared-add'; id = $copy.Id }))['id'] -eq $copy.Id) {
            $null = $script:Held.Add($copy.Id)
            return $copy
        }
        $script:Copies.Remove($copy.Id)
    }
    $answer = Request-Core ([ordered]@{ do = 'shared-add'; value = $Found.Text })
    $id = [long]$answer['id']
    Add-SharedCopy $id $Object $Found.Text $answer['version']
}

# An object of this process as the copy of the core's. It is held: what is done to it from now on is told.
function Add-SharedCopy([long] $Id, $Object, [string] $Text, $Version) {
    $null = $script:Held.Add($Id)
    $script:Copies[$Id] = @{ Id = $Id; Live = $Object; Text = $Text; Before = $Text; Stays = @(); Version = $Version }
    $script:Copies[$Id]
}

# The copy that is this very object.
function Find-SharedCopy($Object) {
    if ($Object -is [string] -or $Object -is [ValueType]) { return }
    foreach ($copy in $script:Copies.Values) { if ([object]::ReferenceEquals($copy.Live, $Object)) { return $copy } }
}

# Whether a value is an object that changes, so that all blocks must have the same one.
function Test-Container($Value) {
    if ($null -eq $Value -or $Value -is [string] -or $Value -is [ValueType] -or $Value -is [byte[]]) { return $false }
    $null -ne (Get-ContainerKind $Value.psobject.BaseObject)
}

# What travels of a value that blocks hold for good (`$using:`, a route's or a mount's arguments): an object
# that changes by its number, anything else as it is. Where a copy is all that the workers get, the log says so.
function ConvertTo-LivePortable($Value, [string] $What, $Extent) {
    if (-not (Test-Container $Value)) {
        Write-CopyWarning $What $Value $Extent
        return [SecretBridge.Portable]::Tag($Value)
    }
    $found = ConvertTo-SharedText $Value
    Write-StayWarning $What $found.Stays $Extent
    [ordered]@{ t = 'shared'; v = (Add-SharedObject $Value $found).Id }
}

# What came of such a value: the object of that number, or a value.
function ConvertFrom-LivePortable([System.Collections.IDictionary] $Tagged) {
    if ($Tagged['t'] -ceq 'shared') { return , (Get-SharedObject $Tagged['v']).Live }
    return , ([SecretBridge.Portable]::Untag($Tagged))
}

function ConvertFrom-LivePortableList($Values) {
    $list = [System.Collections.Generic.List[object]]::new()
    foreach ($value in @($Values)) { if ($null -ne $value) { $list.Add((ConvertFrom-LivePortable $value)) } }
    return , $list.ToArray()
}

function ConvertTo-LivePortableList($Values, [string] $What, $Extent) {
    $list = [System.Collections.Generic.List[object]]::new()
    if ($null -ne $Values) { foreach ($value in $Values) { $list.Add((ConvertTo-LivePortable $value $What $Extent)) } }
    return , $list.ToArray()
}

# The latest of a shared object, held from now on by what runs here.
function Get-SharedObject([long] $Id) {
    $copy = Receive-Shared (Request-Core ([ordered]@{ do = 'shared-get'; id = $Id }))
    if (-not $script:TablesInUse.Contains($Id)) { $null = $script:Held.Add($Id) }
    $copy
}

# Tells the core what was changed in the copies that are held: before others may look, and at the end.
function Send-SharedChange([switch] $Release) {
    foreach ($id in @($script:Held)) {
        $copy = $script:Copies[$id]
        if ($null -eq $copy -or $script:TablesInUse.Contains($id)) { continue }
        $change = Get-SharedChange $copy
        while ($null -ne $change) {
            $what = [ordered]@{ do = 'shared-set' }
            foreach ($entry in $change.GetEnumerator()) { $what[$entry.Key] = $entry.Value }
            try { $answer = [SecretBridge.Channel]::Ask($what) }
            catch {
                # Its vault is gone, and nobody will look at it again.
                $script:Copies.Remove($id)
                break
            }
            $change = if ($null -ne $answer['value']) { Merge-SharedChange $answer }
        }
    }
    if ($Release) { $script:Held.Clear() }
}

# The latest of everything that is held, once a lock is had.
function Update-SharedCopy {
    Send-SharedChange
    foreach ($id in @($script:Held)) {
        if ($script:Copies.ContainsKey($id) -and -not $script:TablesInUse.Contains($id)) { $null = Receive-Shared (Request-Core ([ordered]@{ do = 'shared-get'; id = $id })) }
    }
}
