# Which route blocks the core may answer without a worker: read off the rewritten syntax tree. A block
# is lifted only if nothing else can happen in it; when in doubt it is not.

Set-StrictMode -Version Latest

# The lift of a route block, or nothing.
function Get-BlockLift([scriptblock] $Block, [string] $Method) {
    $tree = $Block.Ast
    if ($tree -isnot [System.Management.Automation.Language.ScriptBlockAst]) { return }
    if ($tree.ParamBlock -or $tree.BeginBlock -or $tree.ProcessBlock -or $tree.DynamicParamBlock -or $tree.CleanBlock) { return }
    if ($tree.EndBlock.Statements.Count -ne 1 -or $tree.EndBlock.Traps) { return }
    $pipeline = $tree.EndBlock.Statements[0]
    if ($pipeline -isnot [System.Management.Automation.Language.PipelineAst] -or $pipeline.Background -or $pipeline.PipelineElements.Count -ne 1) { return }
    $command = $pipeline.PipelineElements[0]
    if ($command -isnot [System.Management.Automation.Language.CommandAst] -or $command.Redirections.Count -or [string]$command.InvocationOperator -ne 'Unknown') { return }
    foreach ($name in 'Write-PodeJsonResponse', 'Get-PodeSecret', 'Update-PodeSecret') {
        if ($script:Bridge.Functions.Contains($name)) { return }
        # An alias, or a module's command of that name, would run in its place.
        $found = Find-ScriptCommand $name
        if ($null -eq $found -or $found.CommandType -ne 'Cmdlet' -or $found.ImplementingType.Assembly -ne [SecretBridge.Worker].Assembly) { return }
    }
    switch ($command.GetCommandName()) {
        'Write-PodeJsonResponse' { return Get-RespondLift $command }
        'Update-PodeSecret' { return Get-UpdateLift $command }
    }
}

# The arguments of a command as a table, `''` being the one without a name; nothing where they are unclear.
function Get-PlainArgument($Command, [string[]] $Names) {
    $found = @{}
    $parameter = ''
    for ($i = 1; $i -lt $Command.CommandElements.Count; $i++) {
        $element = $Command.CommandElements[$i]
        if ($element -is [System.Management.Automation.Language.CommandParameterAst]) {
            if ($parameter -or $element.ParameterName -notin $Names) { return }
            $parameter = $element.ParameterName
            if ($null -eq $element.Argument) { continue }
            $element = $element.Argument
        }
        if ($found.ContainsKey($parameter)) { return }
        $found[$parameter] = $element
        $parameter = ''
    }
    if ($parameter) { return }
    $found
}

# What stands in brackets, where they hold one expression: `([ordered]@{ … })` must have them.
function Get-InnerExpression($Node) {
    while ($Node -is [System.Management.Automation.Language.ParenExpressionAst] -and $Node.Pipeline -is [System.Management.Automation.Language.PipelineAst] -and
        $Node.Pipeline.PipelineElements.Count -eq 1 -and $Node.Pipeline.PipelineElements[0] -is [System.Management.Automation.Language.CommandExpressionAst] -and
        -not $Node.Pipeline.PipelineElements[0].Redirections.Count) {
        $Node = $Node.Pipeline.PipelineElements[0].Expression
    }
    $Node
}

function Get-RespondLift($Command) {
    $arguments = Get-PlainArgument $Command @('Value')
    if ($null -eq $arguments -or $arguments.Count -ne 1) { return }
    $value = Get-InnerExpression @($arguments.Values)[0]
    $isTable = $value -is [System.Management.Automation.Language.HashtableAst] -or (Test-OrderedTable $value)
    if (-not $isTable) { return }
    $template = Get-LiftTemplate $value
    if ($null -eq $template) { return }
    [ordered]@{ respond = $template }
}

function Test-OrderedTable($Node) {
    $Node -is [System.Management.Automation.Language.ConvertExpressionAst] -and $Node.Type.TypeName.FullName -eq 'ordered' -and
    $Node.Child -is [System.Management.Automation.Language.HashtableAst]
}

function Get-LiftTemplate($Node) {
    if ($Node -is [System.Management.Automation.Language.PipelineAst] -and $Node.PipelineElements.Count -eq 1 -and
        $Node.PipelineElements[0] -is [System.Management.Automation.Language.CommandExpressionAst] -and -not $Node.PipelineElements[0].Redirections.Count) {
        $Node = $Node.PipelineElements[0].Expression
    }
    $secret = Get-SecretRead $Node
    if ($secret) { return [ordered]@{ secret = $secret } }
    if (Test-OrderedTable $Node) { return Get-LiftObject $Node.Child }
    # A plain table has no order of its own: one is as good as another.
    if ($Node -is [System.Management.Automation.Language.HashtableAst]) { return Get-LiftObject $Node }
    if ($Node -is [System.Management.Automation.Language.StringConstantExpressionAst] -and [string]$Node.StringConstantType -ne 'BareWord') {
        return [ordered]@{ literal = $Node.Value }
    }
    if ($Node.GetType() -eq [System.Management.Automation.Language.ConstantExpressionAst] -and ($Node.Value -is [int] -or $Node.Value -is [long])) {
        return [ordered]@{ literal = $Node.Value }
    }
    if ($Node -is [System.Management.Automation.Language.VariableExpressionAst]) {
        switch ($Node.VariablePath.UserPath) {
            'true' { return [ordered]@{ literal = $true } }
            'false' { return [ordered]@{ literal = $false } }
            'null' { return [ordered]@{ literal = $null } }
        }
    }
}

function Get-LiftObject($Table) {
    $pairs = [System.Collections.Generic.List[object]]::new()
    foreach ($pair in $Table.KeyValuePairs) {
        if ($pair.Item1 -isnot [System.Management.Automation.Language.StringConstantExpressionAst]) { return }
        $template = Get-LiftTemplate $pair.Item2
        if ($null -eq $template) { return }
        $pairs.Add(@($pair.Item1.Value, $template))
    }
    [ordered]@{ object = $pairs.ToArray() }
}

# The name in `(Get-PodeSecret -Name 'x')`, which is what `$secret:x` has become.
function Get-SecretRead($Node) {
    if ($Node -isnot [System.Management.Automation.Language.ParenExpressionAst]) { return }
    $pipeline = $Node.Pipeline
    if ($pipeline -isnot [System.Management.Automation.Language.PipelineAst] -or $pipeline.PipelineElements.Count -ne 1) { return }
    $command = $pipeline.PipelineElements[0]
    if ($command -isnot [System.Management.Automation.Language.CommandAst] -or $command.GetCommandName() -ne 'Get-PodeSecret' -or $command.Redirections.Count) { return }
    $arguments = Get-PlainArgument $command @('Name')
    if ($null -eq $arguments -or $arguments.Count -ne 1) { return }
    $name = @($arguments.Values)[0]
    if ($name -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $name.Value }
}

# `Update-PodeSecret -Name 'x' -InputObject ($WebEvent.Data.Field)`, with or without the brackets.
function Get-UpdateLift($Command) {
    $arguments = Get-PlainArgument $Command @('Name', 'InputObject')
    if ($null -eq $arguments -or -not $arguments.ContainsKey('Name') -or -not $arguments.ContainsKey('InputObject') -or $arguments.Count -ne 2) { return }
    $name = $arguments['Name']
    if ($name -isnot [System.Management.Automation.Language.StringConstantExpressionAst]) { return }
    $value = Get-InnerExpression $arguments['InputObject']
    $match = [regex]::Match($value.Extent.Text, '^\$WebEvent\.Data\.(?<field>[A-Za-z_]\w*|''[^'']+'')$', 'IgnoreCase')
    # Members that every table has are no fields.
    if (-not $match.Success -or $value -isnot [System.Management.Automation.Language.MemberExpressionAst]) { return }
    $field = $match.Groups['field'].Value.Trim("'")
    if ($null -ne [hashtable].GetProperty($field, [System.Reflection.BindingFlags]'Public,Instance,IgnoreCase')) { return }
    [ordered]@{ update = [ordered]@{ secret = $name.Value; field = $field } }
}
