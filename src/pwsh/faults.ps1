# Errors as bounded plain objects. The core decides by `id` and `kind`; messages are for people.

Set-StrictMode -Version Latest

$script:MessageLength = 4000
$script:ChainLength = 8
# Shorter ones would star out half of every message.
$script:ShortestSecret = 3

# Exception types that only wrap what was thrown.
$script:Wrappers = [System.Collections.Generic.HashSet[string]]::new([string[]]@(
        'System.Management.Automation.MethodInvocationException'
        'System.Management.Automation.GetValueInvocationException'
        'System.Management.Automation.SetValueInvocationException'
        'System.Management.Automation.CmdletInvocationException'
        'System.Management.Automation.CmdletProviderInvocationException'
        'System.Management.Automation.ActionPreferenceStopException'
        'System.Reflection.TargetInvocationException'
        'System.AggregateException'
    ))

# An error of the worker's own.
function New-BridgeError([string] $Id, [string] $Message, [System.Management.Automation.ErrorCategory] $Category = 'InvalidArgument') {
    [System.Management.Automation.ErrorRecord]::new([System.InvalidOperationException]::new($Message), $Id, $Category, $null)
}

# All errors of one call as one to throw: the most telling first, the others inside.
function Join-BridgeError([System.Collections.IEnumerable] $Records) {
    # Errors arrive twice where a cmdlet both writes and throws them.
    $seen = [System.Collections.Generic.HashSet[object]]::new([System.Collections.Generic.ReferenceEqualityComparer]::Instance)
    $byRank = @(0..3 | & { process { , [System.Collections.Generic.List[object]]::new() } })
    foreach ($record in $Records) {
        $item = if ($record -is [System.Management.Automation.ErrorRecord]) { $record } else { $record.ErrorRecord }
        if ($seen.Add($item.Exception)) { $byRank[(Get-BridgeRank $item)].Add($item) }
    }
    $sorted = @(foreach ($list in $byRank) { foreach ($item in $list) { $item } })
    $sorted[0].Exception.Data['SecretBridge.Errors'] = $sorted
    $sorted[0]
}

# How telling an error is: a locked store also says "not found", and that would be taken for the truth.
function Get-BridgeRank([System.Management.Automation.ErrorRecord] $Record) {
    $kinds = for ($e = $Record.Exception; $null -ne $e; $e = $e.InnerException) { $e.GetType().Name }
    $id = $Record.FullyQualifiedErrorId
    if ($kinds -contains 'PasswordRequiredException' -or $id.Contains('PasswordRequired')) { return 0 }
    if ($kinds -contains 'AuthenticationException' -or $id.StartsWith('SecretStoreUnlockFailed', [StringComparison]::Ordinal)) { return 1 }
    if ($id.StartsWith('GetSecretNotFound', [StringComparison]::Ordinal)) { return 3 }
    2
}

# The fault of a thrown error.
function ConvertTo-BridgeFault([System.Management.Automation.ErrorRecord] $Record, $Secrets) {
    # A fault of the core's that no one caught goes back as it came.
    if ($Record.Exception.Data.Contains('SecretBridge.Fault')) { return $Record.Exception.Data['SecretBridge.Fault'] }
    $fault = ConvertTo-BridgePlainFault $Record $Secrets
    $all = $Record.Exception.Data['SecretBridge.Errors']
    if ($null -ne $all -and $all.Length -gt 1) {
        $more = for ($i = 1; $i -lt $all.Length -and $i -le $script:ChainLength; $i++) { ConvertTo-BridgePlainFault $all[$i] $Secrets }
        $fault['more'] = @($more)
    }
    if ($Record.Exception.Data['SecretBridge.Warned']) { $fault['warned'] = $true }
    $fault
}

function ConvertTo-BridgePlainFault([System.Management.Automation.ErrorRecord] $Record, $Secrets) {
    $exception = $Record.Exception
    while ($null -ne $exception.InnerException -and $script:Wrappers.Contains($exception.GetType().FullName)) {
        $exception = $exception.InnerException
    }
    $fault = [ordered]@{
        # The id of a thrown text is that text.
        id = (Hide-BridgeSecret ([string]$Record.FullyQualifiedErrorId) $Secrets).Split(',')[0]
        kind = $exception.GetType().FullName
        category = [string]$Record.CategoryInfo.Category
        message = Hide-BridgeSecret $exception.Message $Secrets
    }
    $target = $Record.TargetObject
    if ($null -ne $target) {
        $text = if ($target -is [string]) { $target } else { $target.GetType().FullName }
        $fault['target'] = Hide-BridgeSecret $text $Secrets
    }
    $position = Get-BridgePosition $Record
    if ($null -ne $position) { $fault['position'] = $position }
    $inner = @(
        for ($e = $exception.InnerException; $null -ne $e; $e = $e.InnerException) {
            [ordered]@{ kind = $e.GetType().FullName; message = Hide-BridgeSecret $e.Message $Secrets }
        }
    )
    if ($inner.Length) { $fault['inner'] = @($inner[0..([Math]::Min($inner.Length, $script:ChainLength) - 1)]) }
    $fault
}

# Where a script failed. A place in these files says nothing to anyone.
function Get-BridgePosition([System.Management.Automation.ErrorRecord] $Record) {
    $at = $Record.InvocationInfo
    if ($null -eq $at -or $at.ScriptLineNumber -lt 1) { return }
    $file = [string]$at.ScriptName
    if ($file.StartsWith($PSScriptRoot, [StringComparison]::Ordinal)) { return }
    $position = [ordered]@{}
    if ($file) { $position['script'] = $file }
    $position['line'] = $at.ScriptLineNumber
    $position['column'] = [Math]::Max($at.OffsetInLine, 1)
    $position
}

# The core's fault as an error to throw; `TargetObject` is the fault.
function ConvertFrom-BridgeFault([System.Collections.IDictionary] $Fault) {
    $exception = [System.InvalidOperationException]::new([string]$Fault['message'])
    $exception.Data['SecretBridge.Fault'] = $Fault
    $category = [System.Management.Automation.ErrorCategory]::NotSpecified
    $null = [Enum]::TryParse([string]$Fault['category'], [ref] $category)
    [System.Management.Automation.ErrorRecord]::new($exception, [string]$Fault['id'], $category, $Fault)
}

# Text for a fault or a log line: the call's own secrets starred out, then cut.
function Hide-BridgeSecret([string] $Text, $Secrets) {
    if ($null -ne $Secrets) {
        # The longest first: a short one may be a part of it, and would leave the rest to be read.
        foreach ($secret in $Secrets | Sort-Object -Property Length -Descending) {
            if ($secret.Length -ge $script:ShortestSecret) { $Text = $Text.Replace($secret, '***') }
        }
    }
    if ($Text.Length -gt $script:MessageLength) { $Text = $Text.Substring(0, $script:MessageLength) }
    $Text
}
