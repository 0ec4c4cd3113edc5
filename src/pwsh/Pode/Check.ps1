# `run --check`: a script declares without a secret. What it would take from where it runs is named, and what is
# missing has a stand-in, `<name>`.

Set-StrictMode -Version Latest

# Reads of a whole file by .NET, which are told of like those by a cmdlet.
$script:FileReads = 'ReadAllText', 'ReadAllLines', 'ReadAllBytes', 'ReadLines'

# Cmdlets that read files, or what was in them, and what a stand-in of theirs is.
$script:CheckProxies = @{
    'Get-Content'              = { param($stand, $bound) if ($bound.ContainsKey('AsByteStream')) { [System.Text.Encoding]::UTF8.GetBytes($stand) } else { $stand } }
    # Mostly a credential, whose password is asked for.
    'Import-Clixml'            = { param($stand) [pscredential]::new($stand, ([SecretBridge.SecureText]::Make($stand))) }
    'Import-PowerShellDataFile' = { @{} }
    'Import-Csv'               = { }
}

# A variable that is not set gets a stand-in, so that the script goes on. Gives all that the script reads, and
# which were missing.
function Set-MissingVariable([object[]] $Files) {
    foreach ($name in Find-NeededVariable $Files) {
        $isSet = -not [string]::IsNullOrEmpty([System.Environment]::GetEnvironmentVariable($name))
        if (-not $isSet) { [System.Environment]::SetEnvironmentVariable($name, "<$name>") }
        [ordered]@{ name = $name; set = $isSet }
    }
}

# While a script is checked, the files that it reads are named, and one that is missing has a stand-in.
function Register-CheckProxy {
    foreach ($name in $script:CheckProxies.Keys) {
        $cmdlet = $ExecutionContext.InvokeCommand.GetCommand($name, 'Cmdlet, Function')
        if ($null -eq $cmdlet) { continue }
        Set-CheckProxy $cmdlet "process { Read-ForCheck '$($cmdlet.ModuleName)\$name' `$PSBoundParameters `$PSCmdlet.SessionState }"
    }
    $cmdlet = $ExecutionContext.InvokeCommand.GetCommand('ConvertTo-SecureString', 'Cmdlet')
    Set-CheckProxy $cmdlet "process { ConvertTo-SecureForCheck '$($cmdlet.ModuleName)\ConvertTo-SecureString' `$PSBoundParameters }"
}

function Set-CheckProxy($Command, [string] $Body) {
    $metadata = [System.Management.Automation.CommandMetadata]::new($Command)
    $binding = [System.Management.Automation.ProxyCommand]::GetCmdletBindingAttribute($metadata)
    $parameters = [System.Management.Automation.ProxyCommand]::GetParamBlock($metadata)
    $proxy = $ExecutionContext.SessionState.Module.NewBoundScriptBlock([scriptblock]::Create("$binding param($parameters) $Body"))
    $null = & $script:UserScope { param($n, $b) Set-Item -Path "function:script:$n" -Value $b } $Command.Name $proxy
}

function Read-ForCheck([string] $Command, $Bound, $SessionState) {
    $paths = @(foreach ($key in 'Path', 'LiteralPath') { if ($Bound.ContainsKey($key)) { $Bound[$key] } })
    $files = @(foreach ($path in $paths) { if ($path -notmatch '^\w{2,}:') { $SessionState.Path.GetUnresolvedProviderPathFromPSPath($path) } })
    foreach ($file in $files) { Add-CheckedFile $file }
    $missing = $files.Where({ $_.IndexOfAny([char[]]'*?') -lt 0 -and -not [System.IO.File]::Exists($_) })
    if (-not $missing.Count) { return & $Command @Bound }
    $name = $Command.Split('\')[-1]
    foreach ($file in $missing) { & $script:CheckProxies[$name] "<$([System.IO.Path]::GetFileName($file))>" $Bound }
}

# What was saved for this user by ConvertFrom-SecureString is read back; a stand-in is no such thing.
function ConvertTo-SecureForCheck([string] $Command, $Bound) {
    $text = if ($Bound.ContainsKey('String')) { [string]$Bound['String'] }
    if ($text -match '^<.+>\s*$') { return [SecretBridge.SecureText]::Make($text) }
    & $Command @Bound
}

<#
.SYNOPSIS
Reads a file as [System.IO.File] does, while a script is checked.
#>
function Read-BridgeFile {
    [CmdletBinding()]
    [OutputType([string], [string[]], [byte[]])]
    param(
        [Parameter(Mandatory, Position = 0)] [string] $Method,
        [Parameter(Mandatory, Position = 1)] [AllowNull()] [AllowEmptyString()] [object[]] $Arguments
    )
    $file = [string]$Arguments[0]
    # The system's own error says what is wrong with no name at all.
    if ($file) {
        $file = [System.IO.Path]::GetFullPath($file)
        Add-CheckedFile $file
        if (-not [System.IO.File]::Exists($file)) {
            $stand = "<$([System.IO.Path]::GetFileName($file))>"
            switch ($Method) {
                'ReadAllBytes' { return , [System.Text.Encoding]::UTF8.GetBytes($stand) }
                'ReadAllText' { return $stand }
            }
            return , [string[]]@($stand)
        }
    }
    $read = [System.IO.File].InvokeMember($Method, 'InvokeMethod, Public, Static', $null, $null, $Arguments)
    return , $read
}

function Add-CheckedFile([string] $File) { $null = $script:Bridge.Needs.Add($File) }

# `[System.IO.File]::ReadAllText(…)` and its like become calls of the command above.
function Add-FileReadEdit($Edits, $Tree) {
    $isRead = {
        param($n)
        $n -is [System.Management.Automation.Language.InvokeMemberExpressionAst] -and $n.Static -and $n.Arguments.Count -and
        $n.Expression -is [System.Management.Automation.Language.TypeExpressionAst] -and $n.Expression.TypeName.FullName -in 'IO.File', 'System.IO.File' -and
        $n.Member -is [System.Management.Automation.Language.StringConstantExpressionAst] -and $n.Member.Value -in $script:FileReads
    }
    foreach ($call in $Tree.FindAll($isRead, $true)) {
        $length = $call.Extent.EndOffset - $call.Extent.StartOffset
        Add-Edit $Edits $call.Extent.StartOffset $call.Arguments[0].Extent.StartOffset "(Read-BridgeFile '$($call.Member.Value)' @(" (-$length)
        Add-Edit $Edits $call.Arguments[-1].Extent.EndOffset $call.Extent.EndOffset '))' (-1000000000 + $length)
    }
}

# Gives the script's mandatory parameters that nobody gave a stand-in, and tells their names.
function Add-MissingParameter($Tree, $Arguments) {
    if ($null -eq $Tree.ParamBlock) { return }
    $given = [System.Collections.Generic.List[string]]::new([string[]]@($Arguments.Named.Keys))
    $positions = 0
    $takes = $false
    foreach ($word in $Arguments.List) {
        $name = $word.PSObject.Properties['<CommandParameterName>']
        if ($null -ne $name) { $given.Add($name.Value); $takes = -not (Test-SwitchParameter $Tree $name.Value) }
        elseif ($takes) { $takes = $false }
        else { $positions++ }
    }
    foreach ($parameter in $Tree.ParamBlock.Parameters) {
        $name = $parameter.Name.VariablePath.UserPath
        if ($given.Where({ $name.StartsWith($_, [StringComparison]::OrdinalIgnoreCase) }, 'First').Count -or (Test-ParameterAlias $parameter $given)) { continue }
        if ($parameter.StaticType -ne [switch] -and $positions -gt 0) { $positions--; continue }
        if (-not (Test-Mandatory $parameter)) { continue }
        $stand = Get-StandIn $parameter $name
        if ($null -eq $stand) { continue }
        $Arguments.Named[$name] = $stand
        $name
    }
}

function Test-SwitchParameter($Tree, [string] $Given) {
    foreach ($parameter in $Tree.ParamBlock.Parameters) {
        if ($parameter.Name.VariablePath.UserPath.StartsWith($Given, [StringComparison]::OrdinalIgnoreCase)) { return $parameter.StaticType -eq [switch] }
    }
    $false
}

function Get-ParameterAttribute($Parameter, [string] $Name) {
    foreach ($attribute in $Parameter.Attributes) {
        if ($attribute -is [System.Management.Automation.Language.AttributeAst] -and $attribute.TypeName.Name -match "(^|\.)$Name(Attribute)?`$") { $attribute }
    }
}

function Test-ParameterAlias($Parameter, $Given) {
    foreach ($attribute in Get-ParameterAttribute $Parameter 'Alias') {
        foreach ($alias in $attribute.PositionalArguments) { if ($alias.Extent.Text.Trim('''"') -in $Given) { return $true } }
    }
    $false
}

function Test-Mandatory($Parameter) {
    foreach ($attribute in Get-ParameterAttribute $Parameter 'Parameter') {
        foreach ($argument in $attribute.NamedArguments) {
            if ($argument.ArgumentName -eq 'Mandatory') { return $argument.ExpressionOmitted -or $argument.Argument.Extent.Text -notin '$false', '0' }
        }
    }
    $false
}

# A value of the parameter's type; nothing where none is known to do.
function Get-StandIn($Parameter, [string] $Name) {
    foreach ($attribute in Get-ParameterAttribute $Parameter 'ValidateSet') {
        if ($attribute.PositionalArguments.Count) { return $attribute.PositionalArguments[0].SafeGetValue() }
    }
    foreach ($attribute in Get-ParameterAttribute $Parameter 'ValidateRange') {
        if ($attribute.PositionalArguments.Count -eq 2) { return $attribute.PositionalArguments[0].SafeGetValue() }
    }
    $type = $Parameter.StaticType
    $stand = "<$Name>"
    if ($type -eq [object] -or $type -eq [string]) { return $stand }
    if ($type -eq [securestring]) { return [SecretBridge.SecureText]::Make($stand) }
    if ($type -eq [pscredential]) { return [pscredential]::new($stand, ([SecretBridge.SecureText]::Make($stand))) }
    if ($type -eq [hashtable]) { return @{ Name = $stand } }
    if ($type -eq [uri]) { return 'https://stand-in.invalid' }
    if ($type -eq [guid]) { return [guid]::Empty }
    if ($type -eq [datetime]) { return [datetime]::UtcNow }
    if ($type -eq [bool]) { return $true }
    if ($type.IsEnum) { return [enum]::GetNames($type)[0] }
    if ($type -eq [string[]] -or $type -eq [object[]]) { return , @($stand) }
    if ($type.IsPrimitive) { return 1 }
}

# What had a stand-in, for the error of a script that did not get over it.
function Get-StandInHint($Variables, [string[]] $Parameters) {
    $missing = @(
        foreach ($variable in $Variables) { if (-not $variable['set']) { "the environment variable $($variable['name'])" } }
        foreach ($file in $script:Bridge.Needs) { if (-not [System.IO.File]::Exists($file)) { "the file $file" } }
        foreach ($name in $Parameters) { "the parameter -$name" }
    )
    if ($missing.Length) { "while it was checked, these were missing and had stand-ins: $($missing -join ', ')" }
}
