# Routes: declaring them.

Set-StrictMode -Version Latest

<#
.SYNOPSIS
Adds a route.
#>
function Add-PodeRoute {
    [CmdletBinding(DefaultParameterSetName = 'Script')]
    param(
        [Parameter(Mandatory)]
        [ValidateSet('Connect', 'Delete', 'Get', 'Head', 'Merge', 'Options', 'Patch', 'Post', 'Put', 'Trace', '*')]
        [string[]] $Method,
        [Parameter(Mandatory)] [string] $Path,
        [Parameter(ParameterSetName = 'Script')] [scriptblock] $ScriptBlock,
        [Parameter(Mandatory, ParameterSetName = 'File')] [string] $FilePath,
        [string[]] $EndpointName,
        [string] $ContentType,
        [string] $ErrorContentType,
        [object[]] $ArgumentList,
        [ValidateSet('Default', 'Error', 'Overwrite', 'Skip')] [string] $IfExists = 'Default',
        [switch] $PassThru
    )
    $clean = '/' + $Path.Split('?')[0].Trim().TrimStart('/')
    if ([string]::IsNullOrWhiteSpace($Path.Split('?')[0])) { throw (New-CommandError 'No Path supplied for the Route' 'RoutePath' 'InvalidArgument') }
    if ($FilePath) { $ScriptBlock = Read-ScriptBlockFile ([System.IO.Path]::GetFullPath($FilePath, $script:Bridge.Root)) }
    if ([string]::IsNullOrWhiteSpace($ScriptBlock)) { throw (New-CommandError "[$($Method -join ',')] ${clean}: No logic passed." 'RouteLogic' 'InvalidArgument') }
    $block = ConvertTo-Block $ScriptBlock $PSCmdlet.SessionState
    $what = [ordered]@{
        do = 'route-add'; methods = @($Method.ForEach({ $_.ToUpperInvariant() })); path = $clean; block = $block
        arguments = ConvertTo-LivePortableList $ArgumentList "an argument of the route '$Path'"; if_exists = $IfExists.ToLowerInvariant()
        endpoints = @($EndpointName.Where({ $_ }))
        position = [ordered]@{ script = [string]$MyInvocation.ScriptName; line = $MyInvocation.ScriptLineNumber; column = [Math]::Max(1, $MyInvocation.OffsetInLine) }
    }
    if ($ContentType) { $what['content_type'] = $ContentType }
    if ($ErrorContentType) { $what['error_content_type'] = $ErrorContentType }
    if ($block['using'].Count -eq 0 -and -not $ArgumentList -and -not $ContentType) {
        $lift = Get-BlockLift $ScriptBlock
        if ($null -ne $lift) { $what['lift'] = $lift }
    }
    $null = Request-Core $what
    if ($PassThru) { foreach ($item in $Method) { @{ Method = $item; Path = $clean; ContentType = $ContentType; ErrorContentType = $ErrorContentType } } }
}

<#
.SYNOPSIS
Removes a route.
#>
function Remove-PodeRoute {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)] [ValidateSet('Connect', 'Delete', 'Get', 'Head', 'Merge', 'Options', 'Patch', 'Post', 'Put', 'Trace', '*')] [string] $Method,
        [Parameter(Mandatory)] [string] $Path,
        [string] $EndpointName
    )
    $what = [ordered]@{ do = 'route-remove'; method = $Method.ToUpperInvariant(); path = '/' + $Path.Split('?')[0].TrimStart('/') }
    if ($EndpointName) { $what['endpoint'] = $EndpointName }
    $null = Request-Core $what
}

<#
.SYNOPSIS
Tells whether a route exists.
#>
function Test-PodeRoute {
    [CmdletBinding()]
    [OutputType([bool])]
    param(
        [Parameter(Mandatory)] [ValidateSet('Connect', 'Delete', 'Get', 'Head', 'Merge', 'Options', 'Patch', 'Post', 'Put', 'Trace', '*')] [string] $Method,
        [Parameter(Mandatory)] [string] $Path,
        [string] $EndpointName,
        [switch] $CheckWildcard
    )
    $what = [ordered]@{ do = 'route-test'; method = $Method.ToUpperInvariant(); path = '/' + $Path.Split('?')[0].TrimStart('/') }
    if ($EndpointName) { $what['endpoint'] = $EndpointName }
    if ((Request-Core $what)['exists']) { return $true }
    if (-not $CheckWildcard) { return $false }
    $what['method'] = '*'
    [bool](Request-Core $what)['exists']
}
