# Cookies. Signed ones are not here: their parameters stop the start.

Set-StrictMode -Version Latest

function New-Cookie([string] $Name, [string] $Value) {
    @{ Name = $Name; Value = $Value; Expires = $null; Discard = $false; HttpOnly = $false; Secure = $false; Path = '/' }
}

function Read-RequestCookie([string] $Header) {
    $cookies = @{}
    foreach ($pair in $Header.Split(';')) {
        $name, $value = $pair.Split('=', 2)
        $name = $name.Trim()
        if ($name) { $cookies[$name] = New-Cookie $name ([string]$value).Trim() }
    }
    $cookies
}

function ConvertTo-CookieText([hashtable] $Cookie) {
    $text = "$($Cookie.Name)=$($Cookie.Value)"
    foreach ($flag in 'Discard', 'HttpOnly', 'Secure') { if ($Cookie[$flag]) { $text += "; $flag" } }
    $text += '; Path=/'
    if ($null -ne $Cookie.Expires) { $text += '; Max-Age=' + [Math]::Max(0, [long]($Cookie.Expires.ToUniversalTime() - [datetime]::UtcNow).TotalSeconds) }
    $text
}

<#
.SYNOPSIS
Sets a cookie on the response.
#>
function Set-PodeCookie {
    [CmdletBinding(DefaultParameterSetName = 'Duration')]
    param(
        [Parameter(Mandatory)] [string] $Name,
        [string] $Value,
        [Parameter(ParameterSetName = 'Duration')] [int] $Duration = 0,
        [Parameter(ParameterSetName = 'ExpiryDate')] [datetime] $ExpiryDate,
        [switch] $HttpOnly,
        [switch] $Discard,
        [switch] $Secure
    )
    if ($Name -notmatch '^[^\s=;,"\x00-\x1f]+$') { throw (New-CommandError "'$Name' is no name of a cookie" 'CookieName' 'InvalidArgument') }
    if ($Value -match '[;\r\n\x00]') { throw (New-CommandError "the value of the cookie '$Name' has a character that ends it" 'CookieValue' 'InvalidArgument') }
    $cookie = New-Cookie $Name $Value
    $cookie.Expires = if ($Duration -gt 0) { [datetime]::UtcNow.AddSeconds($Duration) } elseif ($PSBoundParameters.ContainsKey('ExpiryDate')) { $ExpiryDate.ToUniversalTime() }
    $cookie.Discard, $cookie.HttpOnly, $cookie.Secure = [bool]$Discard, [bool]$HttpOnly, [bool]$Secure
    (Get-CurrentEvent).PendingCookies[$Name] = $cookie
    $cookie
}

<#
.SYNOPSIS
A cookie of the request; one without a value is none.
#>
function Get-PodeCookie {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name, [switch] $Raw)
    $null = $Raw
    $cookie = (Get-CurrentEvent).Cookies[$Name]
    if ($null -ne $cookie -and -not [string]::IsNullOrWhiteSpace($cookie.Value)) { $cookie }
}

<#
.SYNOPSIS
The value of a cookie of the request.
#>
function Get-PodeCookieValue {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name)
    $cookie = Get-PodeCookie -Name $Name
    if ($null -ne $cookie) { $cookie.Value }
}

<#
.SYNOPSIS
Tells whether the request has a cookie.
#>
function Test-PodeCookie {
    [CmdletBinding()]
    [OutputType([bool])]
    param([Parameter(Mandatory)] [string] $Name)
    $null -ne (Get-PodeCookie -Name $Name)
}

<#
.SYNOPSIS
Makes the client forget a cookie.
#>
function Remove-PodeCookie {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name)
    $current = Get-CurrentEvent
    $cookie = $current.PendingCookies[$Name] ?? (Get-PodeCookie -Name $Name)
    if ($null -eq $cookie) { return }
    $cookie.Discard = $true
    $cookie.Expires = [datetime]::UtcNow.AddDays(-2)
    $current.PendingCookies[$Name] = $cookie
}

<#
.SYNOPSIS
Gives a cookie a new end.
#>
function Update-PodeCookieExpiry {
    [CmdletBinding(DefaultParameterSetName = 'Duration')]
    param(
        [Parameter(Mandatory)] [string] $Name,
        [Parameter(ParameterSetName = 'Duration')] [int] $Duration = 0,
        [Parameter(ParameterSetName = 'ExpiryDate')] [datetime] $ExpiryDate
    )
    $current = Get-CurrentEvent
    $cookie = $current.PendingCookies[$Name] ?? (Get-PodeCookie -Name $Name)
    if ($null -eq $cookie) { return }
    if ($Duration -gt 0) { $cookie.Expires = [datetime]::UtcNow.AddSeconds($Duration) }
    elseif ($PSBoundParameters.ContainsKey('ExpiryDate')) { $cookie.Expires = $ExpiryDate.ToUniversalTime() }
    $current.PendingCookies[$Name] = $cookie
    $cookie
}
