# Cookies. Signed ones are not here: their parameters stop the start.

Set-StrictMode -Version Latest

function Read-RequestCookie([string] $Header) {
    $cookies = @{}
    foreach ($pair in $Header.Split(';')) {
        $cut = $pair.IndexOf([char]'=')
        if ($cut -lt 1) { continue }
        $name = $pair.Substring(0, $cut).Trim()
        $cookies[$name] = @{ Name = $name; Value = $pair.Substring($cut + 1).Trim().Trim('"') }
    }
    $cookies
}

function ConvertTo-CookieText([hashtable] $Cookie) {
    $text = "$($Cookie.Name)=$($Cookie.Value); Path=/"
    if ($null -ne $Cookie.Expires) {
        $text += '; Expires=' + $Cookie.Expires.ToUniversalTime().ToString('r', [cultureinfo]::InvariantCulture)
        $text += '; Max-Age=' + [Math]::Max(0, [long]($Cookie.Expires.ToUniversalTime() - [datetime]::UtcNow).TotalSeconds)
    }
    if ($Cookie.Secure) { $text += '; Secure' }
    if ($Cookie.HttpOnly) { $text += '; HttpOnly' }
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
    $expires = if ($Discard) { $null } elseif ($Duration -gt 0) { [datetime]::UtcNow.AddSeconds($Duration) } elseif ($PSBoundParameters.ContainsKey('ExpiryDate')) { $ExpiryDate.ToUniversalTime() }
    $cookie = @{ Name = $Name; Value = $Value; Expires = $expires; HttpOnly = [bool]$HttpOnly; Secure = [bool]$Secure; Discard = [bool]$Discard }
    (Get-CurrentEvent).PendingCookies[$Name] = $cookie
    $cookie
}

<#
.SYNOPSIS
A cookie of the request.
#>
function Get-PodeCookie {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name)
    (Get-CurrentEvent).Cookies[$Name]
}

<#
.SYNOPSIS
The value of a cookie of the request.
#>
function Get-PodeCookieValue {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name)
    $cookie = (Get-CurrentEvent).Cookies[$Name]
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
    (Get-CurrentEvent).Cookies.ContainsKey($Name)
}

<#
.SYNOPSIS
Makes the client forget a cookie.
#>
function Remove-PodeCookie {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name)
    $null = Set-PodeCookie -Name $Name -ExpiryDate ([datetime]::UtcNow.AddDays(-2))
}

<#
.SYNOPSIS
Gives a cookie a new end.
#>
function Update-PodeCookieExpiry {
    [CmdletBinding()]
    param([Parameter(Mandatory)] [string] $Name, [int] $Duration = 0, [datetime] $ExpiryDate)
    $current = Get-CurrentEvent
    $cookie = $current.PendingCookies[$Name] ?? $current.Cookies[$Name]
    if ($null -eq $cookie) { return }
    $more = if ($Duration -gt 0) { @{ Duration = $Duration } } elseif ($PSBoundParameters.ContainsKey('ExpiryDate')) { @{ ExpiryDate = $ExpiryDate } } else { @{} }
    Set-PodeCookie -Name $Name -Value $cookie.Value @more -HttpOnly:([bool]$cookie['HttpOnly']) -Secure:([bool]$cookie['Secure'])
}
