# Headers: of the request to read, of the response to write.

Set-StrictMode -Version Latest

# A line end in a header would start another one.
function Assert-HeaderText([string] $Name, [string] $Value) {
    if ($Name -notmatch "^[A-Za-z0-9!#$%&'*+.^_``|~-]+`$") { throw (New-CommandError "'$Name' is no name of a header" 'HeaderName' 'InvalidArgument') }
    if ($Value -match '[\x00\r\n]') { throw (New-CommandError "the value of the header '$Name' has a line end in it" 'HeaderValue' 'InvalidArgument') }
}

# The response's headers as Pode's scripts know them: an index, and the methods Add, Set and Get. They hang on
# a type's name, which costs a request less than methods of the table's own.
$script:HeaderType = 'SecretBridge.ResponseHeaders'
$script:HeaderMethods = @{
    Add = { param($Name, $Value) $this[$Name] = if ($this.ContainsKey($Name)) { @($this[$Name]) + $Value } else { $Value } }
    Set = { param($Name, $Value) $this[$Name] = $Value }
    Get = { param($Name) , @($this[$Name]) }
}
foreach ($method in $script:HeaderMethods.Keys) { Update-TypeData -TypeName $script:HeaderType -MemberType ScriptMethod -MemberName $method -Value $script:HeaderMethods[$method] -Force }

function New-ResponseHeader {
    $table = [psobject]::AsPSObject(@{})
    $table.pstypenames.Insert(0, $script:HeaderType)
    $table
}

<#
.SYNOPSIS
Adds a header to the response, beside others of its name.
#>
function Add-PodeHeader {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name, [Parameter(Mandatory)] [AllowEmptyString()] [string] $Value)
    Assert-HeaderText $Name $Value
    (Get-CurrentEvent).Response.Headers.Add($Name, $Value)
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
The value of a header of the request, or of the response.
#>
function Get-PodeHeader {
    [CmdletBinding()]
    [OutputType([string])]
    param([Parameter(Mandatory)] [string] $Name, [switch] $Response)
    $current = Get-CurrentEvent
    @($(if ($Response) { $current.Response.Headers[$Name] } else { $current.Request.Headers[$Name] }))[0]
}

<#
.SYNOPSIS
Tells whether the request, or the response, has a header.
#>
function Test-PodeHeader {
    [CmdletBinding()]
    [OutputType([bool])]
    param([Parameter(Mandatory)] [string] $Name, [switch] $Response)
    $current = Get-CurrentEvent
    $headers = if ($Response) { $current.Response.Headers } else { $current.Request.Headers }
    $headers.ContainsKey($Name)
}
