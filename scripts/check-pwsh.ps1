<#
.SYNOPSIS
Checks the PowerShell files of this repository without running them.

.DESCRIPTION
Every .ps1, .psm1 and .psd1 must parse. What is the project's own code (src, scripts, tests) must keep its
rules too: strict mode, no aliases, approved verbs, no Add-Type (it starts a compiler), no use of the
automatic input variable (a host that sees one drains the channel); in src also no text comparison by the
user's culture, and help on what a module exports. Prints each finding with its file and line, and ends with 1 if there is any.

.PARAMETER Path
The repository, or any folder laid out like it.
#>
[CmdletBinding()]
param([string] $Path = (Split-Path -Parent $PSScriptRoot))

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$root = (Resolve-Path -LiteralPath $Path).ProviderPath.TrimEnd('/', '\')
$verbs = @('Common', 'Communications', 'Data', 'Diagnostic', 'Lifecycle', 'Security', 'Other' |
    ForEach-Object { ([type] "System.Management.Automation.Verbs$_").GetFields().Name })
$aliases = @{}
# Not aliases on Linux, where they would start a program of that name instead.
foreach ($name in -split 'cat clear compare cp diff kill ls man mount mv ps pwd rm rmdir sleep sort start tee') {
    $aliases[$name] = 'a cmdlet on Windows'
}
foreach ($alias in Get-Alias) { $aliases[$alias.Name] = $alias.Definition }
$findings = [System.Collections.Generic.List[string]]::new()

function Add-Finding {
    param([string] $File, [System.Management.Automation.Language.IScriptExtent] $Extent, [string] $Text)
    $findings.Add(('{0}:{1}: {2}' -f $File, $Extent.StartLineNumber, $Text))
}

function Select-Ast {
    param([System.Management.Automation.Language.Ast] $Ast, [type] $Type)
    $Ast.FindAll({ param($node) $node -is $Type }.GetNewClosure(), $true)
}

function Get-ScriptFile {
    $pruned = '^(target|\.git)(/|\\)'
    Get-ChildItem -LiteralPath $root -Recurse -File |
        Where-Object { $_.Extension -in '.ps1', '.psm1', '.psd1' } |
        Where-Object { $_.FullName.Substring($root.Length + 1) -notmatch $pruned } |
        Sort-Object -Property FullName
}

function Test-Command {
    param([string] $File, [System.Management.Automation.Language.Ast] $Ast)
    foreach ($command in Select-Ast $Ast ([System.Management.Automation.Language.CommandAst])) {
        $name = $command.GetCommandName()
        if (-not $name) { continue }
        if ($aliases.ContainsKey($name)) {
            Add-Finding $File $command.Extent "the alias '$name' stands for $($aliases[$name])"
        }
        # What compiles once by intent: the worker's sources, and the module's way to a Unix socket.
        $compiles = $File -match '(compile\.ps1|SecretBridge\.Extension\.psm1)$'
        if ($name -eq 'Add-Type' -and -not $compiles) {
            Add-Finding $File $command.Extent 'Add-Type starts a compiler'
        }
    }
}

function Test-Variable {
    param([string] $File, [System.Management.Automation.Language.Ast] $Ast)
    foreach ($variable in Select-Ast $Ast ([System.Management.Automation.Language.VariableExpressionAst])) {
        if ($variable.VariablePath.UserPath -eq 'input') {
            Add-Finding $File $variable.Extent 'the automatic input variable makes the host drain its input'
        }
    }
}

# Methods that compare by the user's culture unless they are told not to: where ICU is, "a`0" begins with
# "a", an accent hides the character before it, and Swedish has another minus.
function Test-Culture {
    param([string] $File, [System.Management.Automation.Language.Ast] $Ast)
    $searches = 'StartsWith', 'EndsWith', 'IndexOf', 'LastIndexOf'
    foreach ($call in Select-Ast $Ast ([System.Management.Automation.Language.InvokeMemberExpressionAst])) {
        if ($call.Static -or $call.Member -isnot [System.Management.Automation.Language.StringConstantExpressionAst]) { continue }
        $name = $call.Member.Value
        $arguments = @($call.Arguments | Where-Object { $null -ne $_ })
        if ($name -in 'ToUpper', 'ToLower' -and $arguments.Count -eq 0) {
            Add-Finding $File $call.Extent "$name goes by the user's culture (hint: ${name}Invariant)"
        }
        if ($name -notin $searches -or $arguments.Count -ne 1) { continue }
        $isCharacter = $arguments[0] -is [System.Management.Automation.Language.ConvertExpressionAst] -and
            $arguments[0].Type.TypeName.FullName -eq 'char'
        if (-not $isCharacter) {
            Add-Finding $File $call.Extent "$name goes by the user's culture (hint: [StringComparison]::Ordinal, or a [char])"
        }
    }
}

function Test-Verb {
    param([string] $File, [System.Management.Automation.Language.Ast] $Ast)
    foreach ($function in Select-Ast $Ast ([System.Management.Automation.Language.FunctionDefinitionAst])) {
        # A method of a class is such a node too.
        if ($function.Parent -is [System.Management.Automation.Language.FunctionMemberAst]) { continue }
        $verb = ($function.Name -replace '^.*:').Split('-')[0]
        if ($verb -notin $verbs) {
            Add-Finding $File $function.Extent "the verb of $($function.Name) is not an approved one"
        }
    }
}

function Test-StrictMode {
    param([string] $File, [System.Management.Automation.Language.Ast] $Ast)
    $commands = @(Select-Ast $Ast ([System.Management.Automation.Language.CommandAst]))
    if (-not @($commands | Where-Object { $_.GetCommandName() -eq 'Set-StrictMode' })) {
        Add-Finding $File $Ast.Extent 'strict mode is not set'
    }
}

# The names in `Export-ModuleMember -Function …`; literals only, for anything else cannot be checked.
function Get-ExportedName {
    param([System.Management.Automation.Language.Ast] $Ast)
    foreach ($command in Select-Ast $Ast ([System.Management.Automation.Language.CommandAst])) {
        if ($command.GetCommandName() -ne 'Export-ModuleMember') { continue }
        $parameter = ''
        foreach ($element in $command.CommandElements | Select-Object -Skip 1) {
            if ($element -is [System.Management.Automation.Language.CommandParameterAst]) {
                $parameter = $element.ParameterName
                if (-not $element.Argument) { continue }
                $element = $element.Argument
            }
            if ($parameter -and 'Function' -notlike "$parameter*") { continue }
            foreach ($text in Select-Ast $element ([System.Management.Automation.Language.StringConstantExpressionAst])) {
                $text.Value
            }
        }
    }
}

function Test-Help {
    param([string] $File, [System.Management.Automation.Language.Ast] $Ast)
    $exported = @(Get-ExportedName $Ast)
    foreach ($function in Select-Ast $Ast ([System.Management.Automation.Language.FunctionDefinitionAst])) {
        if (-not @($exported | Where-Object { $function.Name -like $_ })) { continue }
        $help = $function.GetHelpContent()
        if (-not $help -or -not $help.Synopsis) {
            Add-Finding $File $function.Extent "$($function.Name) is exported and has no .SYNOPSIS"
        }
    }
}

function Test-ScriptFile {
    param([System.IO.FileInfo] $Item)
    $file = $Item.FullName.Substring($root.Length + 1).Replace('\', '/')
    $tokens = $errors = $null
    $ast = [System.Management.Automation.Language.Parser]::ParseFile($Item.FullName, [ref] $tokens, [ref] $errors)
    foreach ($fault in $errors) { Add-Finding $file $fault.Extent $fault.Message }
    if ($file -notmatch '^(src|scripts|tests)/' -or $Item.Extension -eq '.psd1') { return }
    Test-Command $file $ast
    Test-Variable $file $ast
    if ($file -match '^src/') { Test-Culture $file $ast }
    Test-Verb $file $ast
    Test-StrictMode $file $ast
    if ($file -match '^src/.*\.psm1$') { Test-Help $file $ast }
}

$files = @(Get-ScriptFile)
foreach ($item in $files) { Test-ScriptFile $item }
foreach ($finding in $findings) { [Console]::Error.WriteLine($finding) }
'{0} PowerShell files, {1} findings (pwsh {2})' -f $files.Count, $findings.Count, $PSVersionTable.PSVersion
exit ([int]($findings.Count -gt 0))
