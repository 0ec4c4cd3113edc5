# A test script's few words. `Complete-Tests` prints the summary and ends with exit code 1 on a failure.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$script:Passed = 0
$script:Failed = [System.Collections.Generic.List[string]]::new()

function Test-That([string] $Rule, [scriptblock] $Body) {
    try {
        $null = & $Body
        $script:Passed++
    }
    catch {
        $script:Failed.Add($Rule)
        Write-Host "FAILED $Rule`n       $($_.Exception.Message)`n       $($_.ScriptStackTrace -replace "`n", "`n       ")"
    }
}

function Assert-Equal($Expected, $Actual, [string] $What = 'value') {
    if (-not [object]::Equals($Expected, $Actual)) { throw "$What`: expected <$Expected>, got <$Actual>" }
}

function Assert-True([bool] $Condition, [string] $What) {
    if (-not $Condition) { throw "not true: $What" }
}

# The record that the body throws; its id must be the one given.
function Assert-Fault([string] $Id, [scriptblock] $Body) {
    try { $null = & $Body }
    catch {
        # What a compiled method throws, PowerShell wraps.
        $record = [SecretBridge.Faults]::Thrown($_)
        Assert-Equal $Id ($record.FullyQualifiedErrorId.Split(',')[0]) 'error id'
        return $record
    }
    throw "nothing was thrown, expected $Id"
}

function Complete-Tests([string] $Name) {
    Write-Host "$Name`: $script:Passed passed, $($script:Failed.Count) failed"
    exit [int]($script:Failed.Count -gt 0)
}
