# The one command about state and locks that is not compiled (StateCommands.cs, StateFileCommands.cs, LockCommands.cs): what a block
# sets in its caller's scope is set only where a script runs it.

Set-StrictMode -Version Latest

[SecretBridge.Pode.StateCommand]::Warn = {
    param($What, $Value, $Stays)
    if ($Stays.Length) { Write-StayWarning $What $Stays } else { Write-CopyWarning $What $Value }
}

<#
.SYNOPSIS
Runs a block while no other worker holds the same lock.
#>
function Lock-PodeObject {
    [CmdletBinding(DefaultParameterSetName = 'Object')]
    param(
        [Parameter(Position = 0, ValueFromPipeline, ParameterSetName = 'Object')] [AllowNull()] [object] $Object,
        [Parameter(Mandatory, ParameterSetName = 'Name')] [string] $Name,
        [Parameter(Mandatory)] [scriptblock] $ScriptBlock,
        [int] $Timeout = [System.Threading.Timeout]::Infinite,
        [switch] $Return,
        [switch] $CheckGlobal
    )
    try {
        if ($CheckGlobal) { [SecretBridge.Pode.Locks]::WaitForGlobal($Timeout) }
        $lock = [SecretBridge.Pode.Locks]::NameOf($Object, $Name)
        [SecretBridge.Pode.Locks]::Enter($lock, $Timeout)
    }
    catch { throw ([SecretBridge.Faults]::Thrown($_)) }
    try {
        if ($Return) { . $ScriptBlock } else { $null = . $ScriptBlock }
    }
    finally {
        try { [SecretBridge.Pode.Locks]::Exit($lock) }
        catch { throw ([SecretBridge.Faults]::Thrown($_)) }
    }
}
