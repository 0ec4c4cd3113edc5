# Routes: declaring them, and running their blocks.

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

# Carries out a request: body, block, response.
function Invoke-ScriptRoute([System.Collections.IDictionary] $Call) {
    $arrived = $Call['event']
    # The core has freed what an earlier block left behind.
    $script:Bridge.Locks.Clear()
    [SecretBridge.Redaction]::Seen.Clear()
    try { $global:WebEvent = New-WebEvent $arrived }
    catch {
        if ($_.FullyQualifiedErrorId -ne $script:BodyError) { throw }
        Write-ScriptLog 'information' "$($arrived['method']) $($arrived['path']): $($_.Exception.Message)"
        return [ordered]@{ response = [ordered]@{ status = 400; headers = @(); page = [ordered]@{} } }
    }
    try {
        $null = Invoke-Block (Get-LoadedBlock $Call['block']) (ConvertFrom-LivePortableList $Call['arguments'])
        [ordered]@{ response = Complete-Response $global:WebEvent }
    }
    catch { [ordered]@{ response = New-FailedResponse $_ } }
    finally {
        $global:WebEvent = $null
        if ($script:Held.Count) { Send-SharedChange -Release }
    }
}

# `$WebEvent`, as Pode's scripts know it.
function New-WebEvent([System.Collections.IDictionary] $From) {
    $headers = @{}
    foreach ($pair in $From['headers']) {
        $name = [string]$pair[0]
        $headers[$name] = if ($headers.ContainsKey($name)) { "$($headers[$name])$(if ($name -eq 'Cookie') { '; ' } else { ', ' })$($pair[1])" } else { [string]$pair[1] }
    }
    $bytes = [Convert]::FromBase64String([string]$From['body'])
    $route = $From['route']
    $sent = $headers['Content-Type']
    $type = if ($null -ne $route -and $route['contentType']) { [string]$route['contentType'] } else { $sent }
    $body = Read-RequestBody $bytes ([string]$type)
    $endpoint = $From['endpoint']
    $parameters = @{}
    if ($null -ne $From['parameters']) { foreach ($entry in $From['parameters'].GetEnumerator()) { $parameters[$entry.Key] = $entry.Value } }
    $query = [string]$From['query']
    $address = [string]($headers['Host'] ?? $endpoint['address'])
    $target = "$(([string]$From['path']).Replace('%', '%25').Replace('?', '%3F').Replace('#', '%23'))$(if ($query) { "?$query" })"
    $url = $null
    # A client may call the host what it likes.
    if (-not [uri]::TryCreate("$($endpoint['protocol'])://$address$target", [System.UriKind]::Absolute, [ref]$url)) {
        $null = [uri]::TryCreate("$($endpoint['protocol'])://localhost$target", [System.UriKind]::Absolute, [ref]$url)
    }
    $method = [string]$From['method']
    $remote = $null
    if (-not [System.Net.IPEndPoint]::TryParse([string]$From['remote'], [ref]$remote)) { $remote = $From['remote'] }
    @{
        Path           = $From['path']
        Method         = $method.ToLowerInvariant()
        Query          = if ($query) { ConvertFrom-FormText $query } else { @{} }
        Parameters     = $parameters
        Data           = $body.Data
        Files          = $body.Files
        Cookies        = Read-RequestCookie ([string]$headers['Cookie'])
        PendingCookies = [ordered]@{}
        ContentType    = $type
        Request        = @{
            Headers = $headers; Body = $body.Text; RawBody = $bytes; HttpMethod = $method.ToUpperInvariant(); ContentType = $sent; Host = $address
            Url = $url; QueryString = [System.Web.HttpUtility]::ParseQueryString($query); UrlReferrer = $headers['Referer']
            RemoteEndPoint = $remote; UserAgent = $headers['User-Agent']; Protocol = "HTTP/$($From['version'])"; ProtocolVersion = $From['version']; IsSsl = $endpoint['protocol'] -eq 'https'
        }
        Response       = @{ Headers = New-ResponseHeader; ContentType = $null; StatusCode = 200; StatusDescription = $null; Body = $null; Page = $null }
        Route          = @{ Path = $(if ($route) { $route['path'] }); Method = $(if ($route) { [cultureinfo]::InvariantCulture.TextInfo.ToTitleCase(([string]$route['method']).ToLowerInvariant()) }) }
        Endpoint       = @{ Protocol = $endpoint['protocol']; Address = $endpoint['address']; Name = $endpoint['name'] }
        Timestamp      = if ($From['timestamp']) { [datetime]::Parse($From['timestamp'], [cultureinfo]::InvariantCulture, 'AdjustToUniversal') } else { [datetime]::UtcNow }
        ContextId      = $From['context']
        Lockable       = @{ Name = '__global__' }
        Metadata       = @{}
    }
}

# The headers and cookies that the block has set, as pairs.
function Get-ResponseHeader([hashtable] $Current) {
    $headers = [System.Collections.Generic.List[object]]::new()
    foreach ($entry in $Current.Response.Headers.GetEnumerator()) {
        if ($entry.Key -eq 'Content-Type' -and $Current.Response.ContentType) { continue }
        foreach ($value in @($entry.Value)) {
            Assert-HeaderText $entry.Key ([string]$value)
            $headers.Add(@([string]$entry.Key, [string]$value))
        }
    }
    foreach ($cookie in $Current.PendingCookies.Values) { $headers.Add(@('Set-Cookie', (ConvertTo-CookieText $cookie))) }
    return , $headers
}

# What the block left in `$WebEvent`.
function Complete-Response([hashtable] $Current) {
    $response = $Current.Response
    $headers = Get-ResponseHeader $Current
    $reply = [ordered]@{ status = [int]$response.StatusCode; headers = $headers }
    if ($null -ne $response.Page) {
        $reply['page'] = $response.Page
        return $reply
    }
    if ($response.ContentType) {
        Assert-HeaderText 'Content-Type' $response.ContentType
        $headers.Add(@('Content-Type', [string]$response.ContentType))
    }
    if ($response.StatusDescription) { $reply['description'] = [string]$response.StatusDescription }
    $reply['body'] = if ($null -ne $response.Body) { [Convert]::ToBase64String($response.Body) } else { '' }
    $reply
}

# A block that threw: 500, and the fault for the log.
function New-FailedResponse([System.Management.Automation.ErrorRecord] $Record) {
    $fault = [SecretBridge.ScriptFaults]::Of($Record)
    # What was set before the error still stands, unless it is what was wrong.
    $headers = @()
    try { $headers = Get-ResponseHeader $global:WebEvent } catch { $null = $_ }
    [ordered]@{
        status  = 500
        headers = $headers
        page    = [ordered]@{ exception = ConvertTo-PageException $Record $fault }
        failed  = $fault
    }
}

# What a page may show: of the stack the script's own frames, and no secret that the request has read.
function ConvertTo-PageException([System.Management.Automation.ErrorRecord] $Record, $Fault) {
    $own = [System.IO.Path]::GetDirectoryName($PSScriptRoot)
    $frames = ([string]$Record.ScriptStackTrace).Split([Environment]::NewLine).Where({ -not $_.Contains($own) })
    [ordered]@{
        message    = [string]$Fault['message']
        stackTrace = [SecretBridge.Redaction]::Hide($frames -join [Environment]::NewLine)
        line       = if ($Fault.Contains('position')) { "At $($Fault['position']['script']):$($Fault['position']['line'])" } else { '' }
        category   = [SecretBridge.Redaction]::Hide([string]$Record.CategoryInfo)
    }
}
