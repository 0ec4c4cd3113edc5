# The server itself: start, endpoints, configuration, scripts and modules.

Set-StrictMode -Version Latest

# Reads server.psd1, or server.<PODE_ENVIRONMENT>.psd1 where there is one; `-File` names another, or another folder.
function Read-ServerConfig([string] $Root, [string] $File) {
    if ($File) { $File = [System.IO.Path]::GetFullPath($File, $Root) }
    $folder = if ([System.IO.Directory]::Exists($File)) { $File } elseif (-not $File) { $Root }
    $names = if (-not $folder) { @($File) }
    else {
        @(
            if ($env:PODE_ENVIRONMENT) { [System.IO.Path]::Combine($folder, "server.$env:PODE_ENVIRONMENT.psd1") }
            [System.IO.Path]::Combine($folder, 'server.psd1')
        )
    }
    foreach ($name in $names) { if ([System.IO.File]::Exists($name)) { return Import-PowerShellDataFile -LiteralPath $name } }
    if ($File) { throw (New-CommandError "The configuration file '$($names[0])' does not exist" 'ConfigNotFound' 'ObjectNotFound') }
}

function Get-ConfigValue($Config, [string] $Path) {
    foreach ($part in $Path.Split('.')) {
        if ($Config -isnot [System.Collections.IDictionary]) { return }
        $Config = $Config[$part]
    }
    $Config
}

# What of server.psd1 is the core's to honour, as plain data.
function ConvertTo-ServerSetting($Config) {
    $settings = [ordered]@{}
    $paths = [ordered]@{
        auto_import = 'Server.AutoImport.SecretVaults.Enable'; auto_import_secret_management = 'Server.AutoImport.SecretVaults.SecretManagement.Enable'
        export_only = 'Server.AutoImport.SecretVaults.ExportOnly'; request_timeout = 'Server.Request.Timeout'; body_size = 'Server.Request.BodySize'
        strict_content_typing = 'Web.ErrorPages.StrictContentTyping'; error_content_type = 'Web.ErrorPages.Default'
    }
    foreach ($entry in $paths.GetEnumerator()) {
        $value = Get-ConfigValue $Config $entry.Value
        if ($value -is [string] -or $value -is [bool] -or $value -is [int] -or $value -is [long]) { $settings[$entry.Key] = $value }
    }
    $routes = Get-ConfigValue $Config 'Web.ErrorPages.Routes'
    if ($routes -is [System.Collections.IDictionary]) { $settings['error_routes'] = @(foreach ($entry in $routes.GetEnumerator()) { , @([string]$entry.Key, [string]$entry.Value) }) }
    # Where the page on scoping has it, and where one may look for it.
    if ($true -eq (Get-ConfigValue $Config 'Server.AutoImport.SecretVaults.SecretManagement.ExportOnly')) { $settings['export_only'] = $true }
    $settings
}

# Vaults that the script has registered with SecretManagement itself, in this worker's registry.
function Get-RegisteredVault {
    if ($null -eq (Get-Module -Name Microsoft.PowerShell.SecretManagement)) { return }
    foreach ($vault in Microsoft.PowerShell.SecretManagement\Get-SecretVault) {
        [ordered]@{
            name = $vault.Name; module = $vault.ModuleName; path = [string]$vault.ModulePath
            parameters = (ConvertTo-VaultParameter $vault.VaultParameters) ?? [ordered]@{}
        }
    }
}

# Settings of server.psd1 that guard something and are not here must not pass unseen.
function Assert-ServerConfig($Config) {
    foreach ($path in 'Server.Ssl.Protocols', 'Server.AllowedActions', 'Web.Static.ValidateLast', 'Server.Logging.Masking.Patterns') {
        if ($null -ne (Get-ConfigValue $Config $path)) {
            throw (New-CommandError "server.psd1 sets '$path', which secretbridge does not have (hint: remove it; docs/pode.md tells what is done instead)" 'ServerConfig' 'NotImplemented')
        }
    }
}

<#
.SYNOPSIS
Runs the server block, so that it declares what is to be served. Code behind it does not run.
#>
function Start-PodeServer {
    [CmdletBinding(DefaultParameterSetName = 'Script')]
    param(
        [Parameter(Mandatory, Position = 0, ValueFromPipeline, ParameterSetName = 'Script')] [scriptblock] $ScriptBlock,
        [Parameter(Mandatory, ParameterSetName = 'File')] [string] $FilePath,
        [int] $Threads = 1,
        [string] $RootPath,
        [ValidateSet('', 'Show', 'Hide')] [string] $StatusPageExceptions,
        [string] $Name,
        [string] $AppName,
        [string] $ConfigFile,
        [switch] $IgnoreServerConfig,
        [switch] $CurrentPath,
        [switch] $Quiet,
        [switch] $Browse,
        [switch] $DisableTermination,
        [switch] $DisableConsoleInput,
        [switch] $EnableBreakpoints,
        [switch] $ClearHost,
        [switch] $HideOpenAPI,
        [switch] $HideEndpoints,
        [switch] $ShowHelp,
        [switch] $Daemon
    )
    $bridge = $script:Bridge
    if ($bridge.Mode -ne 'plan') { throw (New-CommandError 'Start-PodeServer cannot be called while the server runs' 'ServerRunning') }
    if ($bridge.Served) { throw (New-CommandError 'Start-PodeServer is called a second time' 'ServerRunning') }
    $bridge.Served = $true
    # The root is where the script is, or the file of -FilePath; -RootPath and server.psd1 may say otherwise.
    $folder = $bridge.Root
    if ($FilePath) {
        $FilePath = [System.IO.Path]::GetFullPath($FilePath, $folder)
        $bridge.Root = if ($CurrentPath) { $PSCmdlet.SessionState.Path.CurrentFileSystemLocation.ProviderPath } else { [System.IO.Path]::GetDirectoryName($FilePath) }
    }
    if ($RootPath) { $bridge.Root = [System.IO.Path]::GetFullPath($RootPath, $folder) }
    if (-not $IgnoreServerConfig) { $bridge.Config = (Read-ServerConfig $bridge.Root $ConfigFile) ?? @{} }
    $set = Get-ConfigValue $bridge.Config 'Server.Root'
    if ($set) { $bridge.Root = [System.IO.Path]::GetFullPath($set, $bridge.Root) }
    if (-not [System.IO.Directory]::Exists($bridge.Root)) { throw (New-CommandError "The root path '$($bridge.Root)' does not exist" 'RootPath' 'ObjectNotFound') }
    Assert-ServerConfig $bridge.Config
    $show = Get-ConfigValue $bridge.Config 'Web.ErrorPages.ShowExceptions'
    $what = [ordered]@{
        do = 'server'; threads = [Math]::Max(1, $Threads); root = $bridge.Root; quiet = [bool]$Quiet
        status_page_exceptions = $(if ($StatusPageExceptions) { $StatusPageExceptions -eq 'Show' } else { $true -eq $show })
        config = [SecretBridge.Portable]::Tag($bridge.Config); settings = ConvertTo-ServerSetting $bridge.Config
        registered = @(Get-RegisteredVault)
    }
    if ($Name) { $what['name'] = $Name }
    $null = Request-Core $what
    Export-ScriptParameter
    Export-ScriptFunction $bridge.Tree
    if ($FilePath) { $ScriptBlock = Read-ScriptBlockFile $FilePath }
    Export-ScriptFunction $ScriptBlock.Ast
    & $ScriptBlock
    # Leaves the script here: what stands behind would run once the server has stopped.
    break BridgePlanned
}

# The script's parameters are seen by every block.
function Export-ScriptParameter {
    $block = $script:Bridge.Tree.ParamBlock
    if ($null -eq $block) { return }
    foreach ($parameter in $block.Parameters) {
        $name = $parameter.Name.VariablePath.UserPath
        $value = $script:UserScope.SessionState.PSVariable.GetValue($name)
        Write-CopyWarning "the parameter -$name" $value
        $null = Request-Core ([ordered]@{ do = 'variable-add'; name = $name; value = [SecretBridge.Portable]::Tag($value) })
    }
}

<#
.SYNOPSIS
Binds an address. Pode's form; http and https only.
#>
function Add-PodeEndpoint {
    [CmdletBinding(DefaultParameterSetName = 'Default')]
    param(
        [string] $Address = 'localhost',
        [ValidateRange(0, 65535)] [int] $Port = 0,
        [string] $Hostname,
        [Parameter(ParameterSetName = 'Certificate', Mandatory)] [string] $Certificate,
        [Parameter(ParameterSetName = 'Certificate')] [string] $CertificatePassword,
        [Parameter(ParameterSetName = 'Certificate')] [string] $CertificateKey,
        [string] $Protocol = 'Http',
        [string] $Name,
        [string] $Description,
        [switch] $Force,
        [Parameter(ParameterSetName = 'SelfSigned')] [switch] $SelfSigned,
        [switch] $PassThru,
        [switch] $Default
    )
    if ($Protocol -notin 'Http', 'Https') {
        throw (New-CommandError "the protocol '$Protocol' is not served (hint: Http or Https)" 'EndpointProtocol' 'NotImplemented')
    }
    $https = $Protocol -eq 'Https'
    if (-not $https -and ($Certificate -or $SelfSigned)) { throw (New-CommandError 'Client certificates are only supported on HTTPS endpoints: -Protocol Http takes no certificate' 'EndpointCertificate' 'InvalidArgument') }
    if ($https -and -not $Certificate -and -not $SelfSigned) {
        throw (New-CommandError 'an HTTPS endpoint needs a certificate (hint: -Certificate file.pem -CertificateKey key.pem, or -SelfSigned)' 'EndpointCertificate' 'InvalidArgument')
    }
    if ($Address -in '*', 'all') { $Address = '*' }
    if ($Port -eq 0) { $Port = if ($https) { 8443 } else { 8080 } }
    $what = [ordered]@{ do = 'endpoint-add'; address = $Address; port = $Port; protocol = $Protocol.ToLowerInvariant(); self_signed = [bool]$SelfSigned }
    if ($Name) { $what['name'] = $Name }
    if ($Hostname) { $what['hostname'] = $Hostname }
    if ($Certificate) {
        $path = [System.IO.Path]::GetFullPath($Certificate, $script:Bridge.Root)
        $what['certificate'] = $path
        $what['pfx'] = $path -match '\.(pfx|p12)$'
        if ($CertificateKey) { $what['key'] = [System.IO.Path]::GetFullPath($CertificateKey, $script:Bridge.Root) }
        if ($CertificatePassword) { $what['password'] = [ordered]@{ t = 'securestring'; v = $CertificatePassword } }
    }
    $null = Request-Core $what
    if ($PassThru) { @{ Name = $Name; Address = $Address; Port = $Port; Protocol = $Protocol; HostName = $Hostname } }
}

<#
.SYNOPSIS
The contents of server.psd1.
#>
function Get-PodeConfig {
    [CmdletBinding()]
    [OutputType([hashtable])]
    param()
    $script:Bridge.Config
}

<#
.SYNOPSIS
The server's root folder.
#>
function Get-PodeServerPath {
    [CmdletBinding()]
    [OutputType([string])]
    param()
    $script:Bridge.Root
}

<#
.SYNOPSIS
Stops the server: it drains and ends.
#>
function Close-PodeServer {
    [CmdletBinding()]
    param()
    $null = Request-Core ([ordered]@{ do = 'close' })
}

<#
.SYNOPSIS
Imports a module here and in every worker; ./ps_modules comes first.
#>
function Import-PodeModule {
    [CmdletBinding(DefaultParameterSetName = 'Name')]
    param(
        [Parameter(Mandatory, Position = 0, ParameterSetName = 'Name')] [string] $Name,
        [Parameter(Mandatory, ParameterSetName = 'Path')] [string] $Path
    )
    $paths = if ($Name) {
        $local = [System.IO.Path]::Combine($script:Bridge.Root, 'ps_modules', $Name)
        if ([System.IO.Directory]::Exists($local)) { $local } else { $Name }
    }
    else {
        $full = [System.IO.Path]::GetFullPath($Path, $script:Bridge.Root)
        @(Resolve-Path -Path $full -ErrorAction SilentlyContinue).ForEach({ $_.ProviderPath })
    }
    if (-not @($paths).Where({ $_ }).Count) { throw (New-CommandError "The path '$Path' does not exist" 'ModulePath' 'ObjectNotFound') }
    foreach ($module in $paths) {
        Microsoft.PowerShell.Core\Import-Module -Name $module -Global -Force -DisableNameChecking
        $null = Request-Core ([ordered]@{ do = 'module-add'; name = $module })
    }
}

<#
.SYNOPSIS
Runs a script file in the caller's place; its functions reach the workers.
#>
function Use-PodeScript {
    [CmdletBinding()]
    param([Parameter(Mandatory, Position = 0)] [string] $Path)
    $full = [System.IO.Path]::GetFullPath($Path, $script:Bridge.Root)
    if ([System.IO.Directory]::Exists($full)) { $full = [System.IO.Path]::Combine($full, '*.ps1') }
    $files = @(if ($full.IndexOfAny('*?'.ToCharArray()) -ge 0) { @(Resolve-Path -Path $full).ForEach({ $_.ProviderPath }) } else { $full })
    if ($files.Length -eq 0) { throw (New-CommandError "The script path '$full' does not exist" 'ScriptNotFound' 'ObjectNotFound') }
    foreach ($item in $files) {
        $file = Read-ScriptFile $item
        $tree = ConvertTo-SyntaxTree $file.Text $file.Path
        Export-ScriptFunction $tree
        . $script:UserScope.NewBoundScriptBlock($tree.GetScriptBlock())
    }
}
