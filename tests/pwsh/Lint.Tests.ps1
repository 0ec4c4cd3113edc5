<#
.SYNOPSIS
The lint of scripts/check-pwsh.ps1 finds what it is for, and nothing in a file that keeps the rules.
#>
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$lint = Join-Path -Path $PSScriptRoot -ChildPath '../../scripts/check-pwsh.ps1'
$root = Join-Path -Path ([System.IO.Path]::GetTempPath()) -ChildPath ([guid]::NewGuid().ToString())
$pwsh = (Get-Process -Id $PID).Path
$failures = 0

# Lints a repository of this one file; gives the findings, and the exit code as the last line.
function Invoke-Lint {
    param([string] $File, [string] $Text)
    $path = Join-Path -Path $root -ChildPath $File
    New-Item -ItemType Directory -Force -Path (Split-Path -Parent $path) | Out-Null
    [System.IO.File]::WriteAllText($path, $Text)
    & $pwsh -NoLogo -NoProfile -NonInteractive -File $lint $root 2>&1 | ForEach-Object { "$_" }
    $LASTEXITCODE
    Remove-Item -Recurse -Force -LiteralPath $root
}

function Assert-Lint {
    param([string] $Rule, [string] $File, [string] $Text, [string] $Finding)
    $output = @(Invoke-Lint $File $Text)
    $found = $output -join "`n"
    $met = if ($Finding) { $output[-1] -eq '1' -and $found.Contains($Finding) } else { $output[-1] -eq '0' }
    if ($met) { "ok: $Rule" } else { $script:failures++; "FAILED: ${Rule}:`n$found" }
}

$strict = "Set-StrictMode -Version Latest`n"
$variable = '$' + 'input'
$module = 'src/pwsh/Sample.psm1'
$helped = @'
function Get-Sample {
    <#
    .SYNOPSIS
    A sample.
    #>
    1
}
Export-ModuleMember -Function Get-Sample
'@

Assert-Lint 'a good module passes' $module ($strict + $helped)
Assert-Lint 'a syntax error is found anywhere' 'fixtures/a.ps1' 'if (' 'fixtures/a.ps1:1:'
Assert-Lint 'fixtures keep no other rule' 'fixtures/a.ps1' 'gci'
Assert-Lint 'an alias is found' $module ($strict + '1 | % { 2 }') "Sample.psm1:2: the alias '%'"
Assert-Lint 'an alias of Windows is found' $module ($strict + 'ls') "the alias 'ls'"
Assert-Lint 'an odd verb is found' $module ($strict + 'function Fetch-It { 1 }') 'Fetch-It'
Assert-Lint 'the input variable is found in text too' $module ($strict + """$variable""") 'drain'
Assert-Lint 'the input variable may be named in a comment' $module "$strict# $variable"
Assert-Lint 'a compiler is found' $module ($strict + 'Add-Type -Assembly x') 'Add-Type'
Assert-Lint 'a search by culture is found' $module ($strict + "'a'.StartsWith('b')") 'StartsWith goes by'
Assert-Lint 'an ordinal search passes' $module ($strict + "'a'.IndexOf('b', [StringComparison]::Ordinal); 'a'.IndexOf([char]'b')")
Assert-Lint 'a case by culture is found' $module ($strict + "'a'.ToUpper()") 'hint: ToUpperInvariant'
Assert-Lint 'tests may compare as they like' 'tests/pwsh/a.ps1' ($strict + "'a'.StartsWith('b')")
Assert-Lint 'missing strict mode is found' $module '1' 'strict mode'
Assert-Lint 'missing help is found' $module `
    ($strict + "function Get-It { 1 }`nExport-ModuleMember -Function 'Get-It'") 'SYNOPSIS'
Assert-Lint 'what is not exported needs no help' $module ($strict + 'function Get-It { 1 }')

exit ([int]($failures -gt 0))
