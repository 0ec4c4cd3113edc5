# Headers: of the request to read, of the response to write.

Set-StrictMode -Version Latest

# A line end in a header would start another one.
function Assert-HeaderText([string] $Name, [string] $Value) {
    if ($Name -notmatch "^[A-Za-z0-9!#$%&'*+.^_``|~-]+`$") { throw (New-CommandError "'$Name' is no name of a header" 'HeaderName' 'InvalidArgument') }
    if ($Value -match '[\x00\r\n]') { throw (New-CommandError "the value of the header '$Name' has a line end in it" 'HeaderValue' 'InvalidArgument') }
}

<#
.SYNOPSIS
Adds a header to the response, beside others of its name.
#>
function Add-PodeHeader {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name, [Parameter(Mandatory)] [AllowEmptyString()] [string] $Value)
    Assert-HeaderText $Name $Value
    $headers = (Get-CurrentEvent).Response.Headers
    $headers[$Name] = if ($headers.ContainsKey($Name)) { @($headers[$Name]) + $Value } else { $Value }
}

<#
.SYNOPSIS
Adds several headers to the response.
#>
function Add-PodeHeaderBulk {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [hashtable] $Values)
    foreach ($key in $Values.Keys) { Add-PodeHeader -Name $key -Value $Values[$key] }
}

<#
.SYNOPSIS
Sets a header of the response, in place of others of its name.
#>
function Set-PodeHeader {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name, [Parameter(Mandatory)] [AllowEmptyString()] [string] $Value)
    Assert-HeaderText $Name $Value
    (Get-CurrentEvent).Response.Headers[$Name] = $Value
}

<#
.SYNOPSIS
Sets several headers of the response.
#>
function Set-PodeHeaderBulk {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [hashtable] $Values)
    foreach ($key in $Values.Keys) { Set-PodeHeader -Name $key -Value $Values[$key] }
}

<#
.SYNOPSIS
The value of a header of the request.
#>
function Get-PodeHeader {
    [CmdletBinding()]
    [OutputType([string])]
    param([Parameter(Mandatory)] [string] $Name)
    (Get-CurrentEvent).Request.Headers[$Name]
}

<#
.SYNOPSIS
Tells whether the request has a header.
#>
function Test-PodeHeader {
    [CmdletBinding()]
    [OutputType([bool])]
    param([Parameter(Mandatory)] [string] $Name)
    -not [string]::IsNullOrWhiteSpace((Get-CurrentEvent).Request.Headers[$Name])
}
