# The worker's entry: plan, load, route, custom.

Set-StrictMode -Version Latest

<#
.SYNOPSIS
Carries out one `invoke` of the core; one plain object in, one out.
#>
function Invoke-BridgeScript {
    [CmdletBinding()]
    param([Parameter(Mandatory, Position = 0)] [System.Collections.IDictionary] $Fields)
    foreach ($kind in $Fields.Keys) { break }
    switch -CaseSensitive ($kind) {
        'route' { return Invoke-FedRoute $Fields['route'] }
        'custom' { return [SecretBridge.Pode.CustomBlock]::Invoke($Fields['custom']) }
        'load' { return Import-Session $Fields['load'] }
        'merge' { return [ordered]@{ table = [SecretBridge.Pode.Shared]::MergeChange($Fields['merge']) } }
        'plan' { return Invoke-ScriptPlan $Fields['plan'] }
    }
    throw (New-CommandError "script mode has no '$kind'" 'BadCall' 'InvalidArgument')
}

# Runs a block below the scope of people's code, with its `$using:` values, and gives its output. A
# stray `break` ends here and not in the worker's loop.
$script:Runner = $script:UserScope.NewBoundScriptBlock({
        foreach ($__pair in $args[0].Using) { $ExecutionContext.SessionState.PSVariable.Set($__pair[0], $__pair[1]) }
        $__block = $args[0].ScriptBlock
        $__list = $args[1]
        do { & $__block @__list } while ($false)
    })
[SecretBridge.Pode.Route]::Runner = $script:Runner
[SecretBridge.Pode.Route]::Session = $ExecutionContext.SessionState

# A request that did not come over the channel goes through the same loop.
function Invoke-FedRoute([System.Collections.IDictionary] $Call) {
    [SecretBridge.Worker]::Feed($Call)
    try { Invoke-BridgeLoop }
    finally { $answer = [SecretBridge.Worker]::TakeFed() }
    $answer
}

$script:Starter = $script:UserScope.NewBoundScriptBlock({
        $__bridgeList = $args[1]
        $__bridgeNamed = $args[2]
        . $args[0] @__bridgeList @__bridgeNamed
    })

# Looks for commands without loading modules for them: another Pode on this machine would take the place
# of this one. PowerShell reads the preference in the global scope only.
function Invoke-WithoutLoading([scriptblock] $Body) {
    # Names that no body uses: it sees them.
    $preferenceBefore = Get-Variable -Name 'PSModuleAutoLoadingPreference' -Scope Global -ValueOnly -ErrorAction Ignore
    $global:PSModuleAutoLoadingPreference = 'None'
    try { & $Body }
    finally {
        if ($null -eq $preferenceBefore) { Remove-Variable -Name 'PSModuleAutoLoadingPreference' -Scope Global }
        else { $global:PSModuleAutoLoadingPreference = $preferenceBefore }
    }
}

# What a command's name means in people's code, of what is loaded.
function Find-ScriptCommand([string] $Name) {
    Invoke-WithoutLoading { & $script:UserScope { $ExecutionContext.InvokeCommand.GetCommand($args[0], 'Alias, Function, Cmdlet') } $Name }
}

# Gives a block's output; what it wrote to other streams goes to the log, also if it throws.
function Invoke-Block($Compiled, [object[]] $Arguments) {
    $output = [System.Collections.Generic.List[object]]::new()
    & $script:Runner $Compiled $Arguments *>&1 | & {
        process { if (Test-StreamRecord $_) { [SecretBridge.Log]::Record($_) } else { $output.Add($_) } }
    }
    return , $output
}

[SecretBridge.Pode.CustomBlock]::Run = { param($Compiled, $Arguments) Invoke-Block $Compiled $Arguments }

# Runs a script as `pwsh -File` would, so that its Pode commands declare the plan.
function Invoke-ScriptPlan([System.Collections.IDictionary] $Plan) {
    $bridge = $script:Bridge
    $bridge.Mode = 'plan'
    $bridge.Check = [bool]$Plan['check']
    $bridge.Modules = @(Get-Module).ForEach({ $_.Path })
    Register-VaultProxy
    $bridge.Needs = [System.Collections.Generic.SortedSet[string]]::new([StringComparer]::Ordinal)
    $path = [string]$Plan['script']
    $files = @(if ([System.IO.File]::Exists($path)) { Get-ScriptTree $path })
    # The core has checked these.
    foreach ($file in $files) { $null = $bridge.Trusted.Add($file.Tree.Extent.File) }
    $problems = @(Find-ScriptFileProblem $files)
    if ($problems.Length) { return [ordered]@{ served = $false; problems = $problems } }
    $variables = if ($bridge.Check) { @(Set-MissingVariable $files) }
    $parameters = @()
    if ($bridge.Check) { Register-CheckProxy }
    $before = [System.Environment]::GetEnvironmentVariables()
    try {
        $file = Read-ScriptFile $path
        $bridge.Script = $file.Path
        $bridge.Root = [System.IO.Path]::GetDirectoryName($file.Path)
        $tree = ConvertTo-SyntaxTree $file.Text $file.Path
        $bridge.Tree = $tree
        Import-RequiredModule $tree
        $arguments = ConvertTo-ScriptArgument @($Plan['arguments'])
        if ($bridge.Check) { $parameters = @(Add-MissingParameter $tree $arguments) }
        $block = $script:UserScope.NewBoundScriptBlock($tree.GetScriptBlock())
        :BridgePlanned do {
            & $script:Starter $block $arguments.List $arguments.Named *>&1 | & { process { [SecretBridge.Log]::Record($_) } }
        } while ($false)
        [SecretBridge.Pode.Shared]::AtEnd()
        Export-ScriptModule
    }
    catch {
        # Of a file that was named by a variable.
        $problems = $_.Exception.Data['SecretBridge.Problems']
        if ($null -ne $problems) { return [ordered]@{ served = $false; problems = @($problems) } }
        throw (New-PlanError $_ $(if ($bridge.Check) { Get-StandInHint $variables $parameters }))
    }
    $answer = [ordered]@{ served = $bridge.Served }
    $changes = @(Get-EnvironmentChange $before)
    if ($changes.Length) { $answer['environment'] = $changes }
    if ($bridge.Check) { $answer['needs'] = [ordered]@{ environment = @($variables); files = @($bridge.Needs); parameters = $parameters } }
    $answer
}

# The error of a script that fails to declare, with a hint where there is one.
function New-PlanError([System.Management.Automation.ErrorRecord] $Record, [string] $StandIns) {
    $id = ([string]$Record.FullyQualifiedErrorId).Split(',')[0]
    $fault = (New-FaultError $Record).Exception.Data['SecretBridge.Fault']
    # The script's own parameters are bound before any line of it runs: the place is then that of the binder.
    $own = -not $fault.Contains('position') -or ($Record.Exception -is [System.Management.Automation.ParameterBindingException] -and
        $fault['position']['script'] -notlike '*.psm1' -and -not $script:Bridge.Checked.Contains([string]$fault['position']['script']))
    $hint = switch ($id) {
        'MissingMandatoryParameter' { if ($own) { 'give the script''s parameters after its name, e.g. server.ps1 -Name value' } }
        'NamedParameterNotFound' { if ($own) { 'the script has no such parameter' } else { 'docs/pode.md lists the parameters of each command' } }
        'CommandNotFoundException' { 'is the module installed for this user, and on PSModulePath?' }
    }
    if ($StandIns) { $hint = $StandIns }
    if ($hint -and $fault['message'] -notmatch '\(hint:') { $fault['message'] = "$($fault['message']) (hint: $hint)" }
    if ($own -and $script:Bridge.Script) { $fault['position'] = [ordered]@{ script = $script:Bridge.Script; line = 1; column = 1 } }
    $exception = [System.InvalidOperationException]::new([string]$fault['message'])
    $exception.Data['SecretBridge.Fault'] = $fault
    [System.Management.Automation.ErrorRecord]::new($exception, $id, $Record.CategoryInfo.Category, $null)
}

# The environment variables that the script has set or removed: with Pode all its threads have one environment.
function Get-EnvironmentChange([System.Collections.IDictionary] $Before) {
    $now = [System.Environment]::GetEnvironmentVariables()
    foreach ($name in $now.Keys) {
        if (-not $Before.Contains($name) -or $Before[$name] -cne $now[$name]) { [ordered]@{ name = $name; value = $now[$name] } }
    }
    foreach ($name in $Before.Keys) { if (-not $now.Contains($name)) { [ordered]@{ name = $name; value = $null } } }
}

# Texts of a command line as `pwsh -File` binds them: `-Name value`, `-Name:value`, `-Switch`, positions.
function ConvertTo-ScriptArgument([object[]] $Texts) {
    $list = [System.Collections.Generic.List[psobject]]::new()
    $named = @{}
    foreach ($text in $Texts) {
        $text = [string]$text
        if ($text -notmatch '^[-\u2013\u2014\u2015](?<name>[^\d\s:.-][^:]*)(?<colon>:)?(?<value>.*)$') { $list.Add($text); continue }
        $name = $Matches['name']
        if (-not $Matches['colon'] -or $Matches['value'] -eq '') {
            # What marks a parameter's name in a splatted list.
            $token = [psobject]::new("-$name")
            $token.PSObject.Properties.Add([psnoteproperty]::new('<CommandParameterName>', $name))
            $list.Add($token)
            continue
        }
        $named[$name] = switch -Regex ($Matches['value']) {
            '^\$?true$' { $true; break }
            '^\$?false$' { $false; break }
            default { $_ }
        }
    }
    @{ List = $list.ToArray(); Named = $named }
}

# `#Requires -Modules` is honoured by hand: the script runs as a block, not as a file.
function Import-RequiredModule($Tree) {
    if ($null -eq $Tree.ScriptRequirements) { return }
    foreach ($module in $Tree.ScriptRequirements.RequiredModules) {
        if ($module.Name -ne 'Pode') { Microsoft.PowerShell.Core\Import-Module -FullyQualifiedName $module -Global -DisableNameChecking }
    }
}

# Modules that the script has loaded, for the workers.
function Export-ScriptModule {
    foreach ($module in Get-Module) {
        if ($module.Path -in $script:Bridge.Modules -or $module.Name -match '^(Pode$|SecretBridge\.|Microsoft\.PowerShell\.)') { continue }
        if (-not $module.Path -or $module.Path -notmatch '\.(psd1|psm1|dll|ps1)$') {
            Write-ScriptLog 'warning' "the module '$($module.Name)' was made in memory and does not reach the workers"
            continue
        }
        $manifest = [System.IO.Path]::Combine($module.ModuleBase, "$($module.Name).psd1")
        $null = Request-Core ([ordered]@{ do = 'module-add'; name = $(if ([System.IO.File]::Exists($manifest)) { $manifest } else { $module.Path }) })
    }
}

# Takes the session over from the core; may come again with additions.
function Import-Session([System.Collections.IDictionary] $Load) {
    $bridge = $script:Bridge
    $fresh = $bridge.Mode -eq 'idle'
    if ($fresh) {
        $bridge.Mode = 'serve'
        Register-VaultProxy
    }
    if ($Load.Contains('root')) { $bridge.Root = $Load['root'] }
    if ($Load.Contains('script')) { $bridge.Script = $Load['script'] }
    if ($null -ne $Load['config']) { $bridge.Config = [SecretBridge.Portable]::Untag($Load['config']) }
    foreach ($item in @($Load['environment'])) {
        if ($null -ne $item) { [System.Environment]::SetEnvironmentVariable($item['name'], $item['value']) }
    }
    foreach ($item in @($Load['modules'])) {
        if ($item) { Microsoft.PowerShell.Core\Import-Module -Name $item -Global -DisableNameChecking }
    }
    foreach ($item in @($Load['variables'])) {
        if ($null -ne $item) { $script:UserScope.SessionState.PSVariable.Set($item['name'], ([SecretBridge.Portable]::Untag($item['value']))) }
    }
    foreach ($item in @($Load['functions'])) {
        if ($null -eq $item) { continue }
        $null = $bridge.Functions.Add($item['name'])
        . (New-CompiledBlock $item).ScriptBlock
    }
    foreach ($item in @($Load['blocks'])) {
        if ($null -ne $item) { [SecretBridge.Pode.Blocks]::Set($item['id'], (New-CompiledBlock $item)) }
    }
    if ($fresh) { Initialize-RouteCode }
    [ordered]@{}
}

# A request of nobody's, so that the code around a block is compiled before the first client waits for it: a
# quarter of a second otherwise. The block is this module's own; no code of the script runs.
function Initialize-RouteCode {
    [SecretBridge.Pode.Blocks]::Set(0, [SecretBridge.Pode.Block]::new({ Write-PodeJsonResponse @{ Value = 'v' } }, $null, $null))
    $arrived = [ordered]@{
        method = 'post'; path = '/'; query = 'a=b'; parameters = @{}; body = [Convert]::ToBase64String([System.Text.Encoding]::UTF8.GetBytes('{"Value":"v"}'))
        headers = @(@('Host', 'localhost'), @('Content-Type', 'application/json')); version = '1.1'; context = ''; remote = '127.0.0.1:1'; timestamp = ''
        endpoint = [ordered]@{ protocol = 'http'; address = 'localhost'; name = '' }; route = [ordered]@{ path = '/'; method = 'POST' }
    }
    try {
        $null = Invoke-FedRoute ([ordered]@{ block = 0; arguments = @(); event = $arrived })
        # Under the lock of a vault others would wait for it too.
        [SecretBridge.Pode.Blocks]::Set(0, [SecretBridge.Pode.Block]::new({ param($config, $key) $config.Table[$key] = @($config.Count++) }, $null, $null))
        $table = [ordered]@{ id = 0; version = 1; value = '["table","hashtable","Count",1,"Table",["table","hashtable","List",["list","array",1]]]' }
        $null = [SecretBridge.Pode.CustomBlock]::Invoke([ordered]@{ vault = ''; kind = 'read'; block = 0; table = $table; key = 'k'; arguments = @() })
    }
    catch { Write-ScriptLog 'debug' "nothing was compiled ahead: $($_.Exception.Message)" }
    finally {
        [SecretBridge.Pode.Blocks]::Remove(0)
        [SecretBridge.Pode.Shared]::Forget(0)
    }
}
