Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'

<#
.SYNOPSIS
Registers a vault of a running secretbridge server with SecretManagement.

.DESCRIPTION
Calls Register-SecretVault with this module and the parameters that it needs. The vault of the server has the
name of the registered vault, unless RemoteVault says otherwise.

.PARAMETER Name
The name to register the vault under.

.PARAMETER Uri
Where the server is: http://127.0.0.1:8085 or https://host:8443.

.PARAMETER Socket
The server's Unix socket in place of Uri; on Windows its named pipe, pipe:NAME.

.PARAMETER TokenFile
The file with the server's bearer token. The file is read at each call, so that a rotated token is used at once.

.PARAMETER RemoteVault
The vault's name on the server, where it differs from Name.

.PARAMETER AllowClobber
Replaces a registered vault of the same name.

.PARAMETER DefaultVault
Makes it the default vault.

.EXAMPLE
Register-SecretBridgeVault -Name local -Uri http://127.0.0.1:8085 -TokenFile ~/.local/share/secretbridge/token
Get-Secret -Vault local -Name db -AsPlainText
#>
function Register-SecretBridgeVault {
    [CmdletBinding(SupportsShouldProcess, DefaultParameterSetName = 'Uri')]
    param(
        [Parameter(Mandatory, Position = 0)]
        [ValidateNotNullOrEmpty()]
        [string] $Name,

        [Parameter(Mandatory, ParameterSetName = 'Uri')]
        [uri] $Uri,

        [Parameter(Mandatory, ParameterSetName = 'Socket')]
        [string] $Socket,

        [string] $TokenFile,

        [string] $RemoteVault,

        [switch] $AllowClobber,

        [switch] $DefaultVault
    )

    $parameters = @{}
    if ($PSCmdlet.ParameterSetName -eq 'Uri') {
        $parameters.Uri = $Uri.OriginalString
    }
    else {
        $isPath = $Socket -notmatch '^(unix|pipe):'
        $parameters.Socket = $isPath ? $PSCmdlet.GetUnresolvedProviderPathFromPSPath($Socket) : $Socket
    }
    if ($TokenFile) {
        $parameters.TokenFile = $PSCmdlet.GetUnresolvedProviderPathFromPSPath($TokenFile)
    }
    if ($RemoteVault) {
        $parameters.Vault = $RemoteVault
    }
    if ($PSCmdlet.ShouldProcess($Name, 'Register-SecretVault')) {
        Microsoft.PowerShell.SecretManagement\Register-SecretVault -Name $Name -ModuleName (Join-Path $PSScriptRoot 'SecretBridge.psd1') -VaultParameters $parameters -AllowClobber:$AllowClobber -DefaultVault:$DefaultVault
    }
}

Export-ModuleMember -Function Register-SecretBridgeVault
