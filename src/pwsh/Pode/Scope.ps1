# The rewrite of `$secret:` and `$state:` on the syntax tree, and script blocks as text.
#
# A script file is rewritten as a whole before it is compiled. Lines stay where they are; only columns
# after a rewritten place move. Single-quoted strings and comments are no syntax, so they stay.

Set-StrictMode -Version Latest

# Methods that change a value: called on `$state:x`, the changed value is stored again.
$script:Mutators = [System.Collections.Generic.HashSet[string]]::new([string[]]@(
        'Add', 'AddRange', 'Remove', 'RemoveAt', 'Clear', 'Insert', 'Enqueue', 'Dequeue', 'Push', 'Pop', 'Sort', 'Reverse', 'set_Item'
    ), [StringComparer]::OrdinalIgnoreCase)

$script:CompoundOperators = @{
    PlusEquals = '+'; MinusEquals = '-'; MultiplyEquals = '*'; DivideEquals = '/'; RemainderEquals = '%'; QuestionQuestionEquals = '??'
}

# Parses text that belongs to a file; a mistake is thrown with file, line and column.
function ConvertTo-SyntaxTree([string] $Text, [string] $File) {
    $problems = $null
    $tree = [System.Management.Automation.Language.Parser]::ParseInput($Text, $File, [ref]$null, [ref]$problems)
    if ($problems.Count) {
        throw (New-PlacedError "$($problems[0].Message) (hint: the script does not parse here)" $problems[0].ErrorId $problems[0].Extent)
    }
    $tree
}

# Rewrites a script or the inside of a block. `-File` says where it stands, `-Main` that it is a whole
# script file, whose `$MyInvocation` must tell its path.
function Convert-ScriptText([string] $Text, [string] $File, [switch] $Main, [switch] $Check) {
    $tree = ConvertTo-SyntaxTree $Text $File
    $problems = if ($Check) { @(Find-ScriptProblem $tree) }
    if ($problems) { throw (New-ScriptProblemError $problems) }
    $edits = [System.Collections.Generic.List[object]]::new()
    foreach ($variable in $tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.VariableExpressionAst] -and $n.VariablePath.DriveName }, $true)) {
        $scope = $variable.VariablePath.DriveName.ToLowerInvariant()
        if ($scope -eq 'secret' -or $scope -eq 'state') { Add-VariableEdit $edits $variable $scope }
    }
    Add-CommandEdit $edits $tree
    if ($script:Bridge.Check) { Add-FileReadEdit $edits $tree }
    if ($Main) { Add-InvocationEdit $edits $tree }
    Merge-Edit $Text $edits
}

# `Rank` orders what lies at one offset: closers before openers, inner closers first, outer openers first.
function Add-Edit($Edits, [int] $Start, [int] $End, [string] $Text, [int] $Rank = 0) {
    $Edits.Add([pscustomobject]@{ Start = $Start; End = $End; Text = $Text; Rank = $Rank; Order = $Edits.Count })
}

# Puts `$Before` and `$After` around a node.
function Add-Wrap($Edits, $Extent, [string] $Before, [string] $After) {
    $length = $Extent.EndOffset - $Extent.StartOffset
    Add-Edit $Edits $Extent.StartOffset $Extent.StartOffset $Before (-$length)
    Add-Edit $Edits $Extent.EndOffset $Extent.EndOffset $After (-1000000000 + $length)
}

function Merge-Edit([string] $Text, $Edits) {
    if ($Edits.Count -eq 0) { return $Text }
    $result = [System.Text.StringBuilder]::new()
    $at = 0
    foreach ($edit in ($Edits | Sort-Object -Property Start, Rank, Order)) {
        if ($edit.Start -lt $at) { throw (New-CommandError 'a scoped variable stands where it cannot be rewritten' 'ScopedVariable') }
        $null = $result.Append($Text, $at, $edit.Start - $at).Append($edit.Text)
        # A replaced place keeps its line ends.
        for ($i = $edit.Start; $i -lt $edit.End; $i++) { if ($Text[$i] -eq "`n") { $null = $result.Append("`n") } }
        $at = $edit.End
    }
    $result.Append($Text, $at, $Text.Length - $at).ToString()
}

function Get-ReadText([string] $Scope, [string] $Name) {
    $quoted = [System.Management.Automation.Language.CodeGeneration]::EscapeSingleQuotedStringContent($Name)
    if ($Scope -eq 'secret') { "Get-PodeSecret -Name '$quoted'" } else { "Get-PodeState -Name '$quoted'" }
}

function Get-WriteText([string] $Scope, [string] $Name, [bool] $PassThru) {
    $quoted = [System.Management.Automation.Language.CodeGeneration]::EscapeSingleQuotedStringContent($Name)
    if ($PassThru) { return "Update-BridgeVariable -Scope $Scope -Name '$quoted' -PassThru -Value " }
    if ($Scope -eq 'secret') { "Update-PodeSecret -Name '$quoted' -InputObject " } else { "Update-BridgeVariable -Scope $Scope -Name '$quoted' -Value " }
}

# How the result of a statement is used: `statement` may become several, `void` is one without a
# value, `value` is one whose value counts.
function Get-StatementUse($Statement) {
    $parent = $Statement.Parent
    if ($parent -is [System.Management.Automation.Language.StatementBlockAst] -or $parent -is [System.Management.Automation.Language.NamedBlockAst]) { return 'statement' }
    if ($parent -is [System.Management.Automation.Language.ForStatementAst] -and
        ([object]::ReferenceEquals($parent.Initializer, $Statement) -or [object]::ReferenceEquals($parent.Iterator, $Statement))) { return 'void' }
    'value'
}

function Get-ExpressionUse($Expression) {
    $command = $Expression.Parent
    if ($command -isnot [System.Management.Automation.Language.CommandExpressionAst]) { return 'value' }
    $pipeline = $command.Parent
    if ($pipeline -isnot [System.Management.Automation.Language.PipelineAst] -or $pipeline.PipelineElements.Count -ne 1) { return 'value' }
    Get-StatementUse $pipeline
}

# Decides what a `$secret:` or `$state:` means where it stands, and adds its edits.
function Add-VariableEdit($Edits, $Variable, [string] $Scope) {
    $name = $Variable.VariablePath.UserPath.Substring($Variable.VariablePath.UserPath.IndexOf([char]':') + 1)
    if ($name -eq '') { throw (New-PlacedError "`$${Scope}: needs a name" 'ScopedVariable' $Variable.Extent) }
    $place = $Variable
    if ($place.Parent -is [System.Management.Automation.Language.UsingExpressionAst]) { $place = $place.Parent }
    $chain, $members, $changes = Get-MemberChain $place
    $target = $chain
    while ($target.Parent -is [System.Management.Automation.Language.AttributedExpressionAst]) { $target = $target.Parent }
    Assert-Assignable $Variable $target $Scope $name

    $parent = $target.Parent
    if ($parent -is [System.Management.Automation.Language.AssignmentStatementAst] -and [object]::ReferenceEquals($parent.Left, $target)) {
        if ($members) { Add-ChangeEdit $Edits $parent $place (Get-StatementUse $parent) $Scope $name }
        else { Add-AssignmentEdit $Edits $parent $target $place $Scope $name }
        return
    }
    $parent = $chain.Parent
    if ($parent -is [System.Management.Automation.Language.UnaryExpressionAst] -and [string]$parent.TokenKind -match 'PlusPlus|MinusMinus') {
        if ($members) { Add-ChangeEdit $Edits $parent $place (Get-ExpressionUse $parent) $Scope $name }
        else { Add-StepEdit $Edits $parent $Scope $name }
        return
    }
    if ($changes -and $Scope -eq 'state') {
        Add-ChangeEdit $Edits $changes $place (Get-ExpressionUse $changes) $Scope $name
        return
    }
    $read = Get-ReadText $Scope $name
    $inString = $place.Parent -is [System.Management.Automation.Language.ExpandableStringExpressionAst]
    Add-Edit $Edits $place.Extent.StartOffset $place.Extent.EndOffset $(if ($inString) { "`$($read)" } else { "($read)" })
}

# The outermost member, index or method expression on a variable; whether there is one; and the call
# of a changing method in it, if any.
function Get-MemberChain($Place) {
    $chain = $Place
    $changes = $null
    while ($true) {
        $parent = $chain.Parent
        $isMember = $parent -is [System.Management.Automation.Language.MemberExpressionAst] -and [object]::ReferenceEquals($parent.Expression, $chain)
        $isIndex = $parent -is [System.Management.Automation.Language.IndexExpressionAst] -and [object]::ReferenceEquals($parent.Target, $chain)
        if (-not $isMember -and -not $isIndex) { break }
        if ($parent -is [System.Management.Automation.Language.InvokeMemberExpressionAst] -and -not $parent.Static -and
            $parent.Member -is [System.Management.Automation.Language.StringConstantExpressionAst] -and $script:Mutators.Contains($parent.Member.Value)) { $changes = $parent }
        $chain = $parent
    }
    $chain
    -not [object]::ReferenceEquals($chain, $Place)
    $changes
}

function Assert-Assignable($Variable, $Target, [string] $Scope, [string] $Name) {
    $text = "`$${Scope}:$Name"
    if ($Variable.Splatted) {
        throw (New-PlacedError "'@${Scope}:$Name' cannot be splatted (hint: `$values = $text, then @values)" 'ScopedVariable' $Variable.Extent)
    }
    $parent = $Target.Parent
    if ($parent -is [System.Management.Automation.Language.ForEachStatementAst] -and [object]::ReferenceEquals($parent.Variable, $Target)) {
        throw (New-PlacedError "$text cannot be the variable of a foreach loop (hint: use a variable, and assign it inside the loop)" 'ScopedVariable' $Variable.Extent)
    }
    while ($parent -is [System.Management.Automation.Language.ArrayLiteralAst] -or $parent -is [System.Management.Automation.Language.AttributedExpressionAst]) {
        $Target = $parent
        $parent = $parent.Parent
        if ($parent -is [System.Management.Automation.Language.AssignmentStatementAst] -and [object]::ReferenceEquals($parent.Left, $Target)) {
            throw (New-PlacedError "$text cannot be one of several variables of an assignment (hint: give it an assignment of its own)" 'ScopedVariable' $Variable.Extent)
        }
    }
}

# `$secret:a = …`, `+=` and the others: the right side in brackets, as the argument of the update.
function Add-AssignmentEdit($Edits, $Assignment, $Target, $Place, [string] $Scope, [string] $Name) {
    $right = $Assignment.Right
    if ($right -is [System.Management.Automation.Language.PipelineAst] -and $right.PipelineElements[0] -is [System.Management.Automation.Language.CommandAst] -and
        ([string]$right.PipelineElements[0].GetCommandName()).StartsWith([char]'=')) {
        throw (New-PlacedError "`$${Scope}:$Name is compared with '==' (hint: PowerShell compares with -eq)" 'ScopedVariable' $Assignment.ErrorPosition)
    }
    $single = $right -is [System.Management.Automation.Language.PipelineBaseAst] -or $right -is [System.Management.Automation.Language.CommandBaseAst]
    $open = if ($single) { '(' } else { '$(' }
    $close = ')'
    $operator = $script:CompoundOperators[[string]$Assignment.Operator]
    if ($operator) {
        $open = "(($(Get-ReadText $Scope $Name)) $operator $open"
        $close += ')'
    }
    $casts = $Target.Extent.Text.Substring(0, $Place.Extent.StartOffset - $Target.Extent.StartOffset)
    if ($casts) {
        # Types and attributes do to a variable what they would have done here.
        $open = "($casts`$__bridge$($Place.Extent.StartOffset) = $open"
        $close += ')'
    }
    $write = Get-WriteText $Scope $Name ((Get-StatementUse $Assignment) -eq 'value')
    $length = $Assignment.Extent.EndOffset - $Assignment.Extent.StartOffset
    Add-Edit $Edits $Target.Extent.StartOffset $Assignment.ErrorPosition.EndOffset "$write$open" (-$length)
    Add-Edit $Edits $Assignment.Extent.EndOffset $Assignment.Extent.EndOffset $close (-1000000000 + $length)
}

# `$secret:a++` and its like.
function Add-StepEdit($Edits, $Unary, [string] $Scope, [string] $Name) {
    $kind = [string]$Unary.TokenKind
    $quoted = [System.Management.Automation.Language.CodeGeneration]::EscapeSingleQuotedStringContent($Name)
    $by = if ($kind -match 'PlusPlus') { 1 } else { -1 }
    $text = "Step-BridgeVariable -Scope $Scope -Name '$quoted' -By $by"
    if ((Get-ExpressionUse $Unary) -eq 'value') { $text = "($text -PassThru $(if ($kind -match 'Postfix') { 'Old' } else { 'New' }))" }
    Add-Edit $Edits $Unary.Extent.StartOffset $Unary.Extent.EndOffset $text
}

# A change of a member: read a copy, change it, write it back.
function Add-ChangeEdit($Edits, $Node, $Place, [string] $Use, [string] $Scope, [string] $Name) {
    $copy = "`$__bridge$($Place.Extent.StartOffset)"
    $read = "$copy = $(Get-ReadText $Scope $Name); "
    $write = "; $(Get-WriteText $Scope $Name $false)$copy"
    switch ($Use) {
        'statement' { Add-Wrap $Edits $Node.Extent $read $write }
        'void' { Add-Wrap $Edits $Node.Extent ('$(' + $read) ($write + ')') }
        default {
            # An assignment gives its value only in brackets; a call must not be unrolled by them.
            $open, $close = if ($Node -is [System.Management.Automation.Language.InvokeMemberExpressionAst]) { '', '' } else { '(', ')' }
            Add-Wrap $Edits $Node.Extent ('$(' + $read + $open) ($close + $write + ')')
        }
    }
    Add-Edit $Edits $Place.Extent.StartOffset $Place.Extent.EndOffset $copy
}

# Script files that a script brings in go through the same rewrite: `. ./lib.ps1`, `& ./lib.ps1`, `./lib.ps1`.
function Add-CommandEdit($Edits, $Tree) {
    foreach ($command in $Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.CommandAst] }, $true)) {
        $first = $command.CommandElements[0]
        $operator = [string]$command.InvocationOperator
        $text = [string]$first.Extent.Text
        if ($text.StartsWith('(Resolve-BridgeScript ', [StringComparison]::Ordinal) -or $first -is [System.Management.Automation.Language.ScriptBlockExpressionAst]) { continue }
        if ($operator -ne 'Dot' -and $text.TrimEnd('"', "'", ')') -notlike '*.ps1') { continue }
        $bare = $first -is [System.Management.Automation.Language.StringConstantExpressionAst] -or $first -is [System.Management.Automation.Language.ExpandableStringExpressionAst]
        if ($bare -and [string]$first.StringConstantType -eq 'BareWord') {
            $quote = if ($first -is [System.Management.Automation.Language.StringConstantExpressionAst]) { "'" } else { '"' }
            Add-Wrap $Edits $first.Extent "$(if ($operator -eq 'Unknown') { '& ' })(Resolve-BridgeScript $quote" "$quote)"
        }
        elseif ($operator -ne 'Unknown') { Add-Wrap $Edits $first.Extent '(Resolve-BridgeScript (' '))' }
    }
}

# A rewritten script has no file behind it, so `$MyInvocation` does not know one.
function Add-InvocationEdit($Edits, $Tree) {
    foreach ($member in $Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.MemberExpressionAst] }, $false)) {
        $text = switch -Regex ($member.Extent.Text) {
            '^\$(script:)?MyInvocation\.MyCommand\.(Path|Source|Definition)$' { '$PSCommandPath'; break }
            '^\$(script:)?MyInvocation\.MyCommand\.Name$' { '([System.IO.Path]::GetFileName($PSCommandPath))'; break }
            '^\$(script:)?MyInvocation\.InvocationName$' { '$PSCommandPath'; break }
            default { $null }
        }
        if ($text) { Add-Edit $Edits $member.Extent.StartOffset $member.Extent.EndOffset $text }
    }
}

# Reads and rewrites a script file; checks it for what is not supported, once.
function Read-ScriptFile([string] $Path) {
    $full = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Path)
    if (-not [System.IO.File]::Exists($full)) { throw (New-CommandError "The script file '$full' does not exist" 'ScriptNotFound' 'ObjectNotFound') }
    # Of a file whose name only the script knows, the core says whether others may change it.
    if ($script:Bridge.Trusted.Add($full)) {
        try { $null = Request-Core ([ordered]@{ do = 'trust'; path = $full }) }
        catch {
            $null = $script:Bridge.Trusted.Remove($full)
            throw
        }
    }
    $text = [System.IO.File]::ReadAllText($full)
    $check = $script:Bridge.Mode -eq 'plan' -and $script:Bridge.Checked.Add($full)
    @{ Path = $full; Text = Convert-ScriptText $text $full -Main -Check:$check }
}

# The block that a script file gives as its value, as Pode takes it; of a file that gives none, all of it.
function Read-ScriptBlockFile([string] $Path) {
    $file = Read-ScriptFile $Path
    $tree = ConvertTo-SyntaxTree $file.Text $file.Path
    $last = if ($null -ne $tree.EndBlock) { $tree.EndBlock.Statements | Select-Object -Last 1 }
    if ($last -is [System.Management.Automation.Language.ReturnStatementAst]) { $last = $last.Pipeline }
    $givesBlock = $last -is [System.Management.Automation.Language.PipelineAst] -and $last.PipelineElements.Count -eq 1 -and
    $last.PipelineElements[0] -is [System.Management.Automation.Language.CommandExpressionAst] -and
    $last.PipelineElements[0].Expression -is [System.Management.Automation.Language.ScriptBlockExpressionAst]
    $whole = $script:UserScope.NewBoundScriptBlock($tree.GetScriptBlock())
    if (-not $givesBlock) { return $whole }
    Export-ScriptFunction $tree
    . $whole | Select-Object -Last 1
}

<#
.SYNOPSIS
Gives a script file as a rewritten script block, and anything else as it came.
#>
function Resolve-BridgeScript {
    [CmdletBinding()]
    param([Parameter(Position = 0)] [AllowNull()] $Command)
    if ($Command -isnot [string] -or $Command -notlike '*.ps1') { return $Command }
    $path = $PSCmdlet.GetUnresolvedProviderPathFromPSPath($Command)
    if (-not [System.IO.File]::Exists($path)) { return $Command }
    $file = Read-ScriptFile $path
    $tree = ConvertTo-SyntaxTree $file.Text $file.Path
    Export-ScriptFunction $tree
    $tree.GetScriptBlock()
}

<#
.SYNOPSIS
Assigns a `$secret:` or `$state:` variable; what the rewrite of an assignment calls.
#>
function Update-BridgeVariable {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)] [ValidateSet('secret', 'state')] [string] $Scope,
        [Parameter(Mandatory)] [string] $Name,
        [Parameter(Mandatory)] [AllowNull()] [AllowEmptyString()] [AllowEmptyCollection()] $Value,
        [switch] $PassThru
    )
    if ($Scope -eq 'secret') { Update-PodeSecret -Name $Name -InputObject $Value }
    else { $null = Set-PodeState -Name $Name -Value $Value }
    if ($PassThru) { return , $Value }
}

<#
.SYNOPSIS
Adds to a `$secret:` or `$state:` variable; what `++` and `--` become. A number in a text counts as one.
#>
function Step-BridgeVariable {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)] [ValidateSet('secret', 'state')] [string] $Scope,
        [Parameter(Mandatory)] [string] $Name,
        [Parameter(Mandatory)] [int] $By,
        [ValidateSet('Old', 'New')] [string] $PassThru
    )
    $old = if ($Scope -eq 'secret') { Get-PodeSecret -Name $Name } else { Get-PodeState -Name $Name }
    if ($null -eq $old) { $old = 0 }
    if ($old -is [string]) {
        $number = [decimal]0
        $style = [System.Globalization.NumberStyles]::Float
        # A number that a script stored is written as the user's culture writes it.
        if (-not [decimal]::TryParse($old, $style, [cultureinfo]::InvariantCulture, [ref]$number) -and
            -not [decimal]::TryParse($old, $style, [cultureinfo]::CurrentCulture, [ref]$number)) {
            throw (New-CommandError "the value of `$${Scope}:$Name is no number" 'ScopedVariable' 'InvalidType')
        }
        $old = $number
    }
    $new = $old + $By
    Update-BridgeVariable -Scope $Scope -Name $Name -Value $new
    if ($PassThru -eq 'Old') { $old } elseif ($PassThru -eq 'New') { $new }
}

# A script block as it travels: its text with `$using:` values beside it.
function ConvertTo-Block([scriptblock] $Block, $SessionState) {
    $tree = $Block.Ast
    $parameters = ''
    if ($tree -is [System.Management.Automation.Language.FunctionDefinitionAst]) {
        # Those in parentheses behind the name stand outside of the body.
        if ($tree.Parameters) { $parameters = "param($(@($tree.Parameters).ForEach({ $_.Extent.Text }) -join ', ')) " }
        $tree = $tree.Body
    }
    $extent = $tree.Extent
    $inBraces = $null -ne $tree.Parent
    $start = $extent.StartOffset + [int]$inBraces
    $inner = $extent.Text
    if ($inBraces) { $inner = $inner.Substring(1, $inner.Length - 2) }
    $edits = [System.Collections.Generic.List[object]]::new()
    $using = [ordered]@{}
    foreach ($node in $tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.UsingExpressionAst] }, $true)) {
        $variable = [System.Management.Automation.Language.UsingExpressionAst]::ExtractUsingVariable($node)
        $path = $variable.VariablePath
        if ($path.DriveName -in 'secret', 'state' -or (Test-ForeignUsing $node $tree)) { continue }
        $name = $path.UserPath -replace ':', '_'
        if (-not $using.Contains($name)) { $using[$name] = Get-UsingValue $path.UserPath $SessionState $node }
        Add-Edit $edits ($node.Extent.StartOffset - $start) ($variable.Extent.EndOffset - $start) "`${__using_$name}"
    }
    $text = Merge-Edit $inner $edits
    if ($text -match '(?i)\b(secret|state):|\.ps1\b') { $text = Convert-ScriptText $text $extent.File }
    [ordered]@{
        text  = (Get-BlockLead $tree $(if ($inBraces) { $extent.StartColumnNumber } else { 0 })) + $parameters + $text
        file  = [string]$extent.File
        line  = $extent.StartLineNumber
        using = @(foreach ($entry in $using.GetEnumerator()) { [ordered]@{ name = $entry.Key; value = $entry.Value } })
    }
}

# What stands before a block's first character: the script's `using` statements, and blanks up to its column.
function Get-BlockLead($Tree, [int] $Column) {
    if ($Column -lt 1) { return '' }
    $root = $Tree
    while ($null -ne $root.Parent) { $root = $root.Parent }
    $lead = -join @(foreach ($statement in $root.UsingStatements) { "$($statement.Extent.Text -replace '\s+', ' '); " })
    $lead.PadRight($Column)
}

# `$using:` of a block inside the block belongs to the command that runs it elsewhere.
function Test-ForeignUsing($Node, $Tree) {
    for ($at = $Node.Parent; $null -ne $at -and -not [object]::ReferenceEquals($at, $Tree); $at = $at.Parent) {
        if ($at -is [System.Management.Automation.Language.ScriptBlockExpressionAst] -and $at.Parent -is [System.Management.Automation.Language.CommandAst] -and
            $at.Parent.GetCommandName() -in 'ForEach-Object', '%', 'foreach', 'Invoke-Command', 'icm', 'Start-Job', 'sajb', 'Start-ThreadJob') { return $true }
    }
    $false
}

function Get-UsingValue([string] $Name, $SessionState, $Node) {
    $variable = if ($null -ne $SessionState) { $SessionState.PSVariable.Get($Name) ?? $SessionState.PSVariable.Get("__using_$Name") }
    if ($null -eq $variable) { throw (New-PlacedError "A value for '`$using:$Name' could not be found." 'UsingVariable' $Node.Extent) }
    ConvertTo-LivePortable $variable.Value "`$using:$Name" $Node.Extent
}

# Compiles a block that came from the core, at the place it has in its script.
function New-CompiledBlock([System.Collections.IDictionary] $Block) {
    $lines = [Math]::Max(0, [int]$Block['line'] - 1)
    $file = [string]$Block['file']
    $tree = ConvertTo-SyntaxTree (("`n" * $lines) + $Block['text']) $(if ($file) { $file } else { $null })
    $shared = @{}
    $using = @(foreach ($item in @($Block['using'])) {
            if ($null -eq $item) { continue }
            $name = "__using_$($item['name'])"
            if ($item['value']['t'] -ceq 'shared') { $shared[$name] = [long]$item['value']['v'] }
            else { , @($name, ([SecretBridge.Portable]::Untag($item['value']))) }
        })
    [SecretBridge.Pode.Block]::new($script:UserScope.NewBoundScriptBlock($tree.GetScriptBlock()), $using, $shared)
}

# Functions of a script for the workers, at the top of a script or block; the last of a name wins.
function Export-ScriptFunction($Tree) {
    if ($script:Bridge.Mode -eq 'idle') { return }
    foreach ($function in $Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.FunctionDefinitionAst] }, $false)) {
        if ($function.Parent -is [System.Management.Automation.Language.FunctionMemberAst]) { continue }
        $null = $script:Bridge.Functions.Add($function.Name)
        $null = Request-Core ([ordered]@{
                do = 'function-add'; name = $function.Name; text = (Get-BlockLead $function ($function.Extent.StartColumnNumber - 1)) + $function.Extent.Text
                file = [string]$function.Extent.File; line = $function.Extent.StartLineNumber
            })
    }
}
