# What a vault's block does, by its syntax alone: whether it only reads its table, so that several workers
# may run it beside each other; and whether it leaves something in its process that later blocks need, so
# that each worker runs it. Where the syntax leaves a doubt, a block is taken to change its table.

Set-StrictMode -Version Latest

$script:ReadingMethods = [System.Collections.Generic.HashSet[string]]::new([string[]]@(
        'ContainsKey', 'Contains', 'ContainsValue', 'ToString', 'GetEnumerator', 'Split', 'Trim', 'TrimStart', 'TrimEnd', 'Substring', 'StartsWith', 'EndsWith'
        'IndexOf', 'LastIndexOf', 'ToUpper', 'ToLower', 'ToUpperInvariant', 'ToLowerInvariant', 'Replace', 'PadLeft', 'PadRight', 'Equals', 'GetType', 'AddMinutes'
        'AddSeconds', 'AddHours', 'AddDays', 'ToUniversalTime', 'ToLocalTime', 'GetHashCode', 'CompareTo', 'GetNetworkCredential', 'Where', 'Clone', 'ToArray', 'GetBytes', 'GetString'
    ), [StringComparer]::OrdinalIgnoreCase)
$script:ReadingTypes = '^(System\.)?(Convert|String|Environment|Math|Guid|DateTime|DateTimeOffset|TimeSpan|Uri|Version|IO\.Path|Text\.RegularExpressions\.Regex|Regex|Text\.Encoding|Net\.WebUtility|PSCredential|Management\.Automation\.PSCredential|Net\.NetworkCredential)$'
# Cmdlets that change neither their arguments nor anything that another call of the block may read.
$script:ReadingCommands = [System.Collections.Generic.HashSet[string]]::new([string[]](@'
Start-Sleep sleep Invoke-RestMethod irm Invoke-WebRequest iwr Get-Content gc cat Join-Path Split-Path Test-Path Resolve-Path Get-Item Get-ChildItem gci ls dir
ConvertTo-Json ConvertFrom-Json ConvertTo-SecureString ConvertFrom-SecureString ConvertFrom-StringData ConvertTo-Xml ConvertTo-Csv ConvertFrom-Csv Import-Csv Import-Clixml
Import-PowerShellDataFile Select-Object select Where-Object where ? ForEach-Object foreach % Sort-Object sort Group-Object Measure-Object Select-String Compare-Object
Write-Output echo Write-Host Write-Verbose Write-Debug Write-Warning Write-Error Write-Information Out-Null Out-String Get-Date Get-Random New-Guid New-TimeSpan New-Object
Get-FileHash Get-Unique Select-Xml Get-Secret Get-SecretInfo Get-PodeSecret Read-PodeSecret Test-PodeSecret Test-PodeSecretVault Get-PodeConfig Get-PodeServerPath
Write-PodeHost Write-PodeErrorLog
'@ -split '\s+'), [StringComparer]::OrdinalIgnoreCase)

# The variable at the root of `$a.b[c].d`, or nothing.
function Get-RootVariable($Node) {
    while ($true) {
        if ($Node -is [System.Management.Automation.Language.MemberExpressionAst]) { $Node = $Node.Expression }
        elseif ($Node -is [System.Management.Automation.Language.IndexExpressionAst]) { $Node = $Node.Target }
        elseif ($Node -is [System.Management.Automation.Language.AttributedExpressionAst]) { $Node = $Node.Child }
        else { break }
    }
    if ($Node -is [System.Management.Automation.Language.VariableExpressionAst]) { $Node.VariablePath.UserPath }
}

# The names that may stand for the table, or for something in it: whatever is assigned from them, and what
# a loop or a pipeline goes through.
function Get-TableName($Tree, [string] $First) {
    $names = [System.Collections.Generic.HashSet[string]]::new([string[]]@($First, '_', 'PSItem', 'this'), [StringComparer]::OrdinalIgnoreCase)
    $assignments = @($Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.AssignmentStatementAst] }, $true))
    $loops = @($Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.ForEachStatementAst] }, $true))
    do {
        $count = $names.Count
        foreach ($assignment in $assignments) {
            if (-not (Test-Mentions $assignment.Right $names)) { continue }
            foreach ($variable in $assignment.Left.FindAll({ param($n) $n -is [System.Management.Automation.Language.VariableExpressionAst] }, $true)) { $null = $names.Add($variable.VariablePath.UserPath) }
        }
        foreach ($loop in $loops) { if (Test-Mentions $loop.Condition $names) { $null = $names.Add($loop.Variable.VariablePath.UserPath) } }
    } while ($names.Count -gt $count)
    , $names
}

# Whether a piece of code has one of the names, save inside a text, which is no object of the table.
function Test-Mentions($Tree, $Names) {
    foreach ($variable in $Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.VariableExpressionAst] }, $true)) {
        if (-not $Names.Contains($variable.VariablePath.UserPath)) { continue }
        for ($at = $variable.Parent; $null -ne $at -and -not [object]::ReferenceEquals($at, $Tree.Parent); $at = $at.Parent) {
            if ($at -is [System.Management.Automation.Language.ExpandableStringExpressionAst]) { break }
        }
        if ($at -isnot [System.Management.Automation.Language.ExpandableStringExpressionAst]) { return $true }
    }
    $false
}

# Whether a block's syntax shows that it only reads its first argument.
function Test-OnlyReads([scriptblock] $Block) {
    $tree = $Block.Ast
    if ($tree -isnot [System.Management.Automation.Language.ScriptBlockAst]) { return $false }
    $first = if ($null -ne $tree.ParamBlock -and $tree.ParamBlock.Parameters.Count) { $tree.ParamBlock.Parameters[0].Name.VariablePath.UserPath } else { 'args' }
    $names = Get-TableName $tree $first
    foreach ($node in $tree.FindAll({ $true }, $true)) { if (-not (Test-NodeOnlyReads $node $names)) { return $false } }
    $true
}

function Test-NodeOnlyReads($Node, $Names) {
    if ($Node -is [System.Management.Automation.Language.AssignmentStatementAst]) {
        $target = $Node.Left
        while ($target -is [System.Management.Automation.Language.AttributedExpressionAst]) { $target = $target.Child }
        if ($target -is [System.Management.Automation.Language.VariableExpressionAst]) { return -not $target.VariablePath.DriveName -and -not $target.VariablePath.IsGlobal -and -not $target.VariablePath.IsScript }
        if ($target -isnot [System.Management.Automation.Language.MemberExpressionAst] -and $target -isnot [System.Management.Automation.Language.IndexExpressionAst]) { return $false }
        $root = Get-RootVariable $target
        return $null -ne $root -and -not $Names.Contains($root)
    }
    if ($Node -is [System.Management.Automation.Language.UnaryExpressionAst] -and [string]$Node.TokenKind -match 'PlusPlus|MinusMinus') {
        $root = Get-RootVariable $Node.Child
        return $null -ne $root -and ($Node.Child -is [System.Management.Automation.Language.VariableExpressionAst] -or -not $Names.Contains($root))
    }
    if ($Node -is [System.Management.Automation.Language.InvokeMemberExpressionAst]) { return Test-CallOnlyReads $Node $Names }
    if ($Node -is [System.Management.Automation.Language.ConvertExpressionAst]) { return $Node.Type.TypeName.Name -ne 'ref' }
    if ($Node -is [System.Management.Automation.Language.CommandAst]) { return Test-CommandOnlyReads $Node }
    if ($Node -is [System.Management.Automation.Language.VariableExpressionAst]) { return $Node.VariablePath.UserPath -notin 'args', 'PSBoundParameters', 'MyInvocation', 'PSCmdlet', 'ExecutionContext' }
    $Node -isnot [System.Management.Automation.Language.FunctionDefinitionAst] -and $Node -isnot [System.Management.Automation.Language.FileRedirectionAst]
}

function Test-CallOnlyReads($Call, $Names) {
    if ($Call.Static) {
        if ($Call.Expression.TypeName.FullName -match $script:ReadingTypes) { return $Call.Member.Value -notmatch '^(SetEnvironmentVariable|Exit|FailFast)$' }
        foreach ($argument in @($Call.Arguments)) { if ($null -ne $argument -and (Test-Mentions $argument $Names)) { return $false } }
        return $Call.Expression.TypeName.FullName -notmatch '(^|\.)(File|Directory|Monitor|Interlocked)$' -or $Call.Member.Value -match '^(Read|Exists|Get|Enumerate)'
    }
    if ($Call.Member -isnot [System.Management.Automation.Language.StringConstantExpressionAst]) { return $false }
    if ($script:ReadingMethods.Contains($Call.Member.Value)) { return $true }
    $root = Get-RootVariable $Call.Expression
    $null -ne $root -and -not $Names.Contains($root) -and -not @($Call.Arguments).Where({ $null -ne $_ -and (Test-Mentions $_ $Names) }).Count
}

# A function sees the block's variables, whatever it is given.
function Test-CommandOnlyReads($Command) {
    $name = $Command.GetCommandName()
    if (-not $name -or $script:Bridge.Functions.Contains($name) -or -not $script:ReadingCommands.Contains($name)) { return $false }
    # `ForEach-Object Clear` calls a method by its name.
    if ($name -notin 'ForEach-Object', 'foreach', '%') { return $true }
    @($Command.CommandElements).Where({ $_ -is [System.Management.Automation.Language.StringConstantExpressionAst] -and -not [object]::ReferenceEquals($_, $Command.CommandElements[0]) }).Count -eq 0
}

# Whether a block signs in, loads code or sets what only its own process has.
function Test-ProcessBound([scriptblock] $Block) {
    foreach ($command in $Block.Ast.FindAll({ param($n) $n -is [System.Management.Automation.Language.CommandAst] }, $true)) {
        if ([string]$command.GetCommandName() -match '^(.*\\)?((Connect|Login)-\w+|Import-Module|ipmo|Add-Type|New-PSDrive|(Set|Select)-Az(Context|Subscription))$') { return $true }
    }
    foreach ($assignment in $Block.Ast.FindAll({ param($n) $n -is [System.Management.Automation.Language.AssignmentStatementAst] }, $true)) {
        $target = $assignment.Left
        while ($target -is [System.Management.Automation.Language.AttributedExpressionAst]) { $target = $target.Child }
        if ($target -isnot [System.Management.Automation.Language.VariableExpressionAst]) { continue }
        $path = $target.VariablePath
        if ($path.IsGlobal -or $path.IsScript -or $path.DriveName -eq 'env') { return $true }
    }
    $false
}
