# What the host's own pwsh does before the first worker: tells which engine it is, and compiles the sources
# beside this file into one assembly. One line of JSON is the answer.
#
# It must be right in every language mode: only what a constrained session allows stands before the check.
param([string] $Output, [switch] $Strict)

if ($ExecutionContext.SessionState.LanguageMode -ne 'FullLanguage') {
    "{`"language`":`"$($ExecutionContext.SessionState.LanguageMode)`"}"
    exit 0
}

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

<#
.SYNOPSIS
Compiles the sources in a folder into an assembly. Other libraries than those of today may warn of what is
no mistake, so warnings are errors in the project's own checks only.
#>
function Invoke-SourceCompiler([string] $Folder, [string] $Assembly, [bool] $Strict) {
    $sources = [System.IO.Directory]::GetFiles($Folder, '*.cs', 'AllDirectories')
    [Array]::Sort($sources, [StringComparer]::Ordinal)
    # C# 12 is what the compiler of pwsh 7.4 knows.
    $options = @('/langversion:12', '/nullable:enable', '/optimize+', '/deterministic+')
    if ($Strict) { $options += '/warnaserror+' }
    $null = Add-Type -Path $sources -OutputAssembly $Assembly -OutputType Library -CompilerOptions $options -IgnoreWarnings:(-not $Strict)
}

if ($Output) { Invoke-SourceCompiler $PSScriptRoot $Output $Strict }
$engine = [System.Collections.Generic.Dictionary[string, string]]::new()
$engine['language'] = 'FullLanguage'
$engine['version'] = $PSVersionTable.PSVersion.ToString()
$engine['runtime'] = "$([System.Runtime.InteropServices.RuntimeInformation]::FrameworkDescription) $([System.Runtime.InteropServices.RuntimeInformation]::RuntimeIdentifier)"
[System.Text.Json.JsonSerializer]::Serialize($engine, $engine.GetType())
