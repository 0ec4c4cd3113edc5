# What of Pode is not here. A script that names it does not start; a call that only shows while the
# server runs throws. Nothing is taken and then ignored.

Set-StrictMode -Version Latest

# The first pattern that a command's name fits says what to use instead.
$script:Remedies = @(
    , @('Auth|Jwt|OIDC', 'callers are checked before the script: --token-file, or a reverse proxy that signs people in')
    , @('Access|Limit', 'bind to a loopback address or use --loopback, a firewall, or a reverse proxy')
    , @('Csrf|Security', 'set headers in the route with Set-PodeHeader, or in a reverse proxy')
    , @('Middleware|Endware|Body', 'call a function of your own at the start of the route')
    , @('Session|Flash', 'keep what is needed in $state: or in a cookie')
    , @('Timer|Schedule|Task|Cron', 'use cron or a systemd timer that calls a route')
    , @('Static|Page|View|Markdown|FileResponse|Attachment|RequestFile', 'serve files with a web server in front')
    , @('Signal|WebSocket|Sse|Tcp|Handler|Verb|Smtp', 'only http and https requests are served')
    , @('OA|OpenApi', 'describe the routes in a file of your own')
    , @('Cache', 'secrets are cached with -CacheTtl; other values go to $state:')
    , @('Event', 'put the code into the server block, or behind the program')
    , @('Mutex|Semaphore', 'use Lock-PodeObject -Name')
    , @('Cookie|Header', 'signed cookies and headers are not here; sign values in a function of your own')
    , @('Log', 'use New-PodeLoggingMethod with -Terminal or -File and Enable-PodeErrorLogging; log lines have the levels of --log')
    , @('FileWatcher', 'use a systemd path unit')
    , @('Restart|Suspend|Resume|Gui|IIS|Heroku|Hosted', 'the server is managed from outside, by a service manager')
    , @('.', 'write it in PowerShell, in the route')
)

$script:ParameterRemedies = @{
    Middleware = 'call a function of your own at the start of the route'
    Authentication = 'callers are checked before the script: --token-file, or a reverse proxy'
    Access = 'bind to a loopback address or use --loopback'; AllowAnon = 'remove it'
    Role = 'check it in the route'; Group = 'check it in the route'; Scope = 'check it in the route'; User = 'check it in the route'
    Secret = 'signed cookies and headers are not here'; Strict = 'signed cookies and headers are not here'
    TransferEncoding = 'send plain bodies'; Interval = 'use a systemd timer'; ServerlessType = 'run it as a server'; Request = 'run it as a server'
    EnablePool = 'timers, schedules, tasks and web sockets are not here'; RedirectTo = 'add a route with Move-PodeResponseUrl'
    CertificateThumbprint = 'use -Certificate with a file'; CertificateName = 'use -Certificate with a file'; X509Certificate = 'use -Certificate with a file'
    AllowClientCertificate = 'check client certificates in a reverse proxy'; SslProtocol = 'TLS 1.2 and 1.3 are served'; TlsMode = 'TLS is implicit'
    DualMode = "use -Address '::'"; LookupHostname = 'use -Address with the address'; Custom = 'use -Terminal or -File'; EventViewer = 'use -Terminal or -File'
    Batch = 'lines are written at once'; MaxDays = 'use logrotate'; MaxSize = 'use logrotate'
}

# Names that Pode has; the stubs keep PowerShell from loading another Pode for them.
$script:UnsupportedNames = -split @'
Get-PodeCookieSecret Set-PodeCookieSecret Test-PodeCookieSigned Test-PodeHeaderSigned
Add-PodeFlashMessage Clear-PodeFlashMessages Get-PodeFlashMessage Get-PodeFlashMessageNames Remove-PodeFlashMessage Test-PodeFlashMessage
Set-PodeResponseAttachment Write-PodeFileResponse Write-PodeDirectoryResponse Write-PodeMarkdownResponse Write-PodeYamlResponse Write-PodeViewResponse
Write-PodeTcpClient Read-PodeTcpClient Close-PodeTcpClient Save-PodeRequestFile Test-PodeRequestFile Set-PodeViewEngine Use-PodePartialView Send-PodeSignal Add-PodeViewFolder Send-PodeResponse
Close-PodeDisposable Start-PodeStopwatch Use-PodeStream Add-PodeEndware Use-PodeEndware Import-PodeSnapIn Protect-PodeValue Resolve-PodeValue Invoke-PodeScriptBlock
Test-PodeIsUnix Test-PodeIsWindows Test-PodeIsMacOS Test-PodeIsPSCore Test-PodeIsEmpty Test-PodeIsIIS Test-PodeIsHeroku Get-PodeIISApplicationPath Out-PodeVariable Test-PodeIsHosted New-PodeCron Test-PodeInRunspace
Add-PodeStaticRoute Add-PodeSignalRoute Remove-PodeStaticRoute Remove-PodeSignalRoute Clear-PodeRoutes Clear-PodeStaticRoutes Clear-PodeSignalRoutes ConvertTo-PodeRoute Add-PodePage Get-PodeRoute Get-PodeStaticRoute Get-PodeSignalRoute
Use-PodeRoutes Add-PodeRouteGroup Add-PodeStaticRouteGroup Add-PodeSignalRouteGroup Set-PodeRouteIfExistsPreference Test-PodeStaticRoute Test-PodeSignalRoute
Add-PodeHandler Remove-PodeHandler Clear-PodeHandlers Use-PodeHandlers Add-PodeBodyParser Remove-PodeBodyParser
Add-PodeSchedule Remove-PodeSchedule Clear-PodeSchedule Clear-PodeSchedules Invoke-PodeSchedule Edit-PodeSchedule Set-PodeScheduleConcurrency Get-PodeSchedule Get-PodeScheduleNextTrigger Use-PodeSchedules Test-PodeSchedule
Add-PodeTimer Remove-PodeTimer Clear-PodeTimers Invoke-PodeTimer Edit-PodeTimer Get-PodeTimer Use-PodeTimers Test-PodeTimer
Add-PodeTask Set-PodeTaskConcurrency Invoke-PodeTask Remove-PodeTask Clear-PodeTasks Edit-PodeTask Get-PodeTask Use-PodeTasks Close-PodeTask Test-PodeTaskCompleted Wait-PodeTask
Add-PodeMiddleware New-PodeMiddleware Remove-PodeMiddleware Clear-PodeMiddleware Use-PodeMiddleware Add-PodeAccessRule Add-PodeLimitRule Add-PodeLimitAccessRule Add-PodeLimitRateRule New-PodeCsrfToken Get-PodeCsrfMiddleware Initialize-PodeCsrf Enable-PodeCsrfMiddleware
Enable-PodeSessionMiddleware Remove-PodeSession Save-PodeSession Get-PodeSessionId Reset-PodeSessionExpiry Get-PodeSessionDuration Get-PodeSessionExpiry
New-PodeAuthScheme New-PodeAuthAzureADScheme New-PodeAuthTwitterScheme Add-PodeAuth Get-PodeAuth Clear-PodeAuth Add-PodeAuthWindowsAd Add-PodeAuthWindowsLocal Remove-PodeAuth Add-PodeAuthMiddleware Add-PodeAuthIIS Add-PodeAuthUserFile
ConvertTo-PodeJwt ConvertFrom-PodeJwt Test-PodeJwt Use-PodeAuth ConvertFrom-PodeOIDCDiscovery Test-PodeAuthUser Merge-PodeAuth Test-PodeAuth Test-PodeAuthExists Get-PodeAuthUser Add-PodeAuthSession
New-PodeAccessScheme Add-PodeAccess Add-PodeAccessCustom Get-PodeAccess Test-PodeAccessExists Test-PodeAccess Test-PodeAccessUser Test-PodeAccessRoute Merge-PodeAccess Remove-PodeAccess Clear-PodeAccess Add-PodeAccessMiddleware Use-PodeAccess
Disable-PodeRequestLogging Disable-PodeErrorLogging Disable-PodeLogErrorType Disable-PodeLogRequestType Add-PodeLogger Remove-PodeLogger Clear-PodeLoggers Write-PodeLog Protect-PodeLogItem Use-PodeLogging New-PodeLogCustomMethod New-PodeLogEventViewerMethod
Restart-PodeServer Start-PodeStaticServer Show-PodeGui Get-PodeEndpoint Pode Suspend-PodeServer Resume-PodeServer Enable-PodeServer Disable-PodeServer Get-PodeServerState Test-PodeServerState
Enable-PodeOpenApi Get-PodeOpenApiDefinition Add-PodeOAResponse Remove-PodeOAResponse Add-PodeOAComponentResponse Set-PodeOARequest New-PodeOARequestBody Add-PodeOAComponentSchema Set-PodeOARouteInfo Enable-PodeOAViewer ConvertTo-PodeOAParameter Add-PodeOAInfo
Get-PodeServerUptime Get-PodeServerRestartCount Get-PodeServerRequestMetric Get-PodeServerSignalMetric Get-PodeServerActiveRequestMetric Get-PodeServerActiveSignalMetric
Export-PodeModule Export-PodeSnapin Export-PodeFunction Register-PodeEvent Unregister-PodeEvent Test-PodeEvent Get-PodeEvent Clear-PodeEvent Use-PodeEvents
Add-PodeSecurityHeader Set-PodeSecurity Remove-PodeSecurity Set-PodeSecurityAccessControl Set-PodeSecurityContentSecurityPolicy Set-PodeSecurityFrameOptions Hide-PodeSecurityServer Show-PodeSecurityServer Add-PodeSecurityContentSecurityPolicy Set-PodeSecurityStrictTransportSecurity
Add-PodeVerb Remove-PodeVerb Clear-PodeVerbs Get-PodeVerb Use-PodeVerbs Set-PodeWebSocketConcurrency Connect-PodeWebSocket Disconnect-PodeWebSocket Remove-PodeWebSocket Send-PodeWebSocket Reset-PodeWebSocket Test-PodeWebSocket
Add-PodeFileWatcher Test-PodeFileWatcher Get-PodeFileWatcher Remove-PodeFileWatcher Clear-PodeFileWatchers Use-PodeFileWatchers
Remove-PodeLockable Test-PodeLockable Clear-PodeLockables New-PodeMutex Test-PodeMutex Get-PodeMutex Remove-PodeMutex Use-PodeMutex Enter-PodeMutex Exit-PodeMutex Clear-PodeMutexes
New-PodeSemaphore Test-PodeSemaphore Get-PodeSemaphore Remove-PodeSemaphore Use-PodeSemaphore Enter-PodeSemaphore Exit-PodeSemaphore Clear-PodeSemaphores
Set-PodeCache Get-PodeCache Test-PodeCache Remove-PodeCache Clear-PodeCache Add-PodeCacheStorage Set-PodeCacheDefaultStorage ConvertTo-PodeSseConnection Send-PodeSseEvent Close-PodeSseConnection Add-PodeScopedVariable Convert-PodeScopedVariables
'@

function Get-Remedy([string] $Name) {
    foreach ($pair in $script:Remedies) { if ($Name -match $pair[0]) { return $pair[1] } }
}

function New-UnsupportedError([string] $Name) {
    New-CommandError "$Name is a command of Pode that secretbridge does not have (hint: $(Get-Remedy $Name))" 'PodeNotSupported' 'NotImplemented'
}

# One function for each name, so that a call fails whatever finds it.
function Initialize-UnsupportedCommand {
    $stub = { throw (New-UnsupportedError $MyInvocation.MyCommand.Name) }
    foreach ($name in $script:UnsupportedNames) { Set-Item -Path "function:script:$name" -Value $stub }
}

# Stops at the first thing of Pode in a script that is not here.
function Assert-SupportedScript($Tree) {
    $own = [System.Collections.Generic.HashSet[string]]::new([StringComparer]::OrdinalIgnoreCase)
    foreach ($function in $Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.FunctionDefinitionAst] }, $true)) { $null = $own.Add($function.Name) }
    $unsupported = [System.Collections.Generic.HashSet[string]]::new([string[]]$script:UnsupportedNames, [StringComparer]::OrdinalIgnoreCase)
    $here = $ExecutionContext.SessionState.Module.ExportedCommands
    foreach ($command in $Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.CommandAst] }, $true)) {
        $name = $command.GetCommandName()
        if (-not $name) { continue }
        $name = $name -replace '^Pode\\', ''
        if ($own.Contains($name) -or ($name -notmatch '^[A-Za-z]+-Pode[A-Za-z]+$' -and $name -ne 'Pode')) { continue }
        if ($unsupported.Contains($name)) { throw (New-PlacedError (New-UnsupportedError $name).Exception.Message 'PodeNotSupported' $command.Extent) }
        $known = $here[$name]
        if ($null -ne $known) { Assert-SupportedParameter $command $known }
        elseif ($name -notmatch '-PodeWeb' -and -not (Test-OtherCommand $name)) {
            throw (New-PlacedError "$name is no command that secretbridge has (hint: $(Get-Remedy $name))" 'PodeNotSupported' $command.Extent)
        }
    }
    foreach ($variable in $Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.VariableExpressionAst] }, $true)) {
        if ($variable.VariablePath.DriveName -in 'session', 'cache') {
            throw (New-PlacedError "`$$($variable.VariablePath.DriveName): is not here (hint: `$state: is)" 'PodeNotSupported' $variable.Extent)
        }
        if ($variable.VariablePath.UserPath -eq 'PodeContext') {
            throw (New-PlacedError '$PodeContext is Pode''s inside, which secretbridge does not have (hint: Get-PodeConfig, Get-PodeServerPath, $state:)' 'PodeNotSupported' $variable.Extent)
        }
    }
}

# Whether people's own code or modules have a command. With a pattern Get-Command loads nothing: by the
# name alone it would bring in the Pode that is installed, in place of this one.
function Test-OtherCommand([string] $Name) {
    $pattern = "$($Name.Substring(0, $Name.Length - 1))[$($Name[-1])]"
    $found = & $script:UserScope { Get-Command -Name $args[0] -CommandType Alias, Function, Cmdlet -ErrorAction Ignore } $pattern
    @($found).Where({ $null -ne $_ -and $_.ModuleName -ne 'Pode' }).Count -gt 0
}

# A parameter that the command has not, written in full or short.
function Assert-SupportedParameter($Command, $Known) {
    if ($Known.CommandType -eq 'Alias') { $Known = $Known.ResolvedCommand }
    $names = @(foreach ($parameter in $Known.Parameters.Values) { $parameter.Name; $parameter.Aliases })
    foreach ($element in $Command.CommandElements) {
        if ($element -isnot [System.Management.Automation.Language.CommandParameterAst]) { continue }
        $given = $element.ParameterName
        if ($names.Where({ $_.StartsWith($given, [StringComparison]::OrdinalIgnoreCase) }, 'First').Count) { continue }
        $remedy = foreach ($key in $script:ParameterRemedies.Keys) { if ($key.StartsWith($given, [StringComparison]::OrdinalIgnoreCase)) { $script:ParameterRemedies[$key]; break } }
        if (-not $remedy) { $remedy = if ($given -like 'OA*') { 'describe the routes in a file of your own' } else { 'docs/pode.md lists the parameters' } }
        throw (New-PlacedError "$($Known.Name) has no parameter -$given here (hint: $remedy)" 'PodeNotSupported' $element.Extent)
    }
}
