# What `secretbridge doctor` asks pwsh: a first line as soon as it runs, then one line of JSON with the engine and the
# modules that it finds. It changes nothing.
#
# It must be right in every language mode: only what a constrained session allows stands before the check.
param([string] $Names)

'started'
if ($ExecutionContext.SessionState.LanguageMode -ne 'FullLanguage') {
    "{`"language`":`"$($ExecutionContext.SessionState.LanguageMode)`"}"
    exit 0
}

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

if ($env:SECRETBRIDGE_MODULE_PATH) {
    $env:PSModulePath = $env:SECRETBRIDGE_MODULE_PATH, $env:PSModulePath -join [System.IO.Path]::PathSeparator
}
$modules = @(foreach ($name in $Names -split '\|') {
        if (-not $name) { continue }
        foreach ($module in @(Get-Module -ListAvailable -Name $name -ErrorAction SilentlyContinue)) {
            @{ asked = $name; name = $module.Name; version = "$($module.Version)"; path = "$($module.ModuleBase)" }
        }
    })
$answer = @{
    language = 'FullLanguage'
    version  = "$($PSVersionTable.PSVersion)"
    runtime  = [System.Runtime.InteropServices.RuntimeInformation]::FrameworkDescription
    modules  = $modules
}
ConvertTo-Json -InputObject $answer -Depth 4 -Compress
