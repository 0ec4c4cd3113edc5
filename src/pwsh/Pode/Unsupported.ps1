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

# The other names of Pode 2.14. The stubs also keep PowerShell from loading a Pode of this machine for them.
$script:UnsupportedNames = -split @'
Add-PodeAccess Add-PodeAccessCustom Add-PodeAccessMiddleware Add-PodeAccessRule Add-PodeAuth Add-PodeAuthIIS Add-PodeAuthMiddleware
Add-PodeAuthSession Add-PodeAuthUserFile Add-PodeAuthWindowsAd Add-PodeAuthWindowsLocal Add-PodeBodyParser Add-PodeCacheStorage Add-PodeEndware
Add-PodeFavicon Add-PodeFileWatcher Add-PodeFlashMessage Add-PodeHandler Add-PodeLimitAccessRule Add-PodeLimitRateRule Add-PodeLimitRule
Add-PodeLogger Add-PodeLogType Add-PodeLogW3CCustomField Add-PodeLogW3CField Add-PodeMcpGroup Add-PodeMcpTool Add-PodeMcpToolProperty
Add-PodeMiddleware Add-PodeOACallBack Add-PodeOAComponentCallBack Add-PodeOAComponentExample Add-PodeOAComponentHeader Add-PodeOAComponentParameter
Add-PodeOAComponentPathItem Add-PodeOAComponentRequestBody Add-PodeOAComponentResponse Add-PodeOAComponentResponseLink Add-PodeOAComponentSchema
Add-PodeOAExternalDoc Add-PodeOAExternalRoute Add-PodeOAInfo Add-PodeOAResponse Add-PodeOAServerEndpoint Add-PodeOATag Add-PodeOAWebhook Add-PodePage
Add-PodeRouteGroup Add-PodeSchedule Add-PodeScopedVariable Add-PodeSecurityContentSecurityPolicy Add-PodeSecurityHeader
Add-PodeSecurityPermissionsPolicy Add-PodeSignalRoute Add-PodeSignalRouteGroup Add-PodeStaticRoute Add-PodeStaticRouteGroup Add-PodeTask Add-PodeTimer
Add-PodeVerb Add-PodeViewFolder Clear-PodeAccess Clear-PodeAuth Clear-PodeCache Clear-PodeEvent Clear-PodeFileWatchers Clear-PodeFlashMessages
Clear-PodeHandlers Clear-PodeLockables Clear-PodeLoggers Clear-PodeLogMethods Clear-PodeLogTypes Clear-PodeMcpGroup Clear-PodeMiddleware
Clear-PodeMutexes Clear-PodeRoutes Clear-PodeSchedule Clear-PodeSchedules Clear-PodeScopedVariables Clear-PodeSemaphores Clear-PodeSignalRoutes
Clear-PodeStaticRoutes Clear-PodeTasks Clear-PodeTimers Clear-PodeVerbs Close-PodeDisposable Close-PodeSignalConnection Close-PodeSseConnection
Close-PodeTask Close-PodeTcpClient Connect-PodeWebSocket Convert-PodeLogItemToString Convert-PodeScopedVariable Convert-PodeScopedVariables
ConvertFrom-PodeJwt ConvertFrom-PodeOIDCDiscovery ConvertFrom-PodeXml ConvertTo-PodeJwt ConvertTo-PodeOAParameter ConvertTo-PodeRoute
ConvertTo-PodeSignalConnection ConvertTo-PodeSseConnection ConvertTo-PodeString ConvertTo-PodeSyslog Disable-PodeErrorLogging Disable-PodeLogErrorType
Disable-PodeLogRequestType Disable-PodeRequestLogging Disable-PodeServer Disable-PodeSignalSigning Disable-PodeSseSigning Disconnect-PodeWebSocket
Edit-PodeSchedule Edit-PodeTask Edit-PodeTimer Enable-PodeCsrfMiddleware Enable-PodeOA Enable-PodeOAViewer Enable-PodeOpenApi Enable-PodeOpenApiViewer
Enable-PodeServer Enable-PodeSessionMiddleware Enable-PodeSignalSigning Enable-PodeSseSigning Enter-PodeMutex Enter-PodeSemaphore Exit-PodeMutex
Exit-PodeSemaphore Export-PodeFunction Export-PodeModule Export-PodeSnapin Get-PodeAccess Get-PodeAppName Get-PodeAuth Get-PodeAuthEvent
Get-PodeAuthUser Get-PodeCache Get-PodeCacheDefaultStorage Get-PodeCacheDefaultTtl Get-PodeCacheStorage Get-PodeConfigPath Get-PodeCookieSecret
Get-PodeCsrfMiddleware Get-PodeCurrentRunspaceName Get-PodeDefaultFolder Get-PodeEndpoint Get-PodeEnvironmentVariable Get-PodeEvent Get-PodeFavicon
Get-PodeFileWatcher Get-PodeFlashMessage Get-PodeFlashMessageNames Get-PodeIISApplicationPath Get-PodeLimitAccessRule Get-PodeLimitRateRule
Get-PodeLogDefaultFormat Get-PodeLogDefaultSerialiseFormat Get-PodeLogDefaultSyslogFormat Get-PodeLogOverride Get-PodeMcpGroup Get-PodeMcpTool
Get-PodeMutex Get-PodeOADefinition Get-PodeOpenApiDefinition Get-PodeRoute Get-PodeSchedule Get-PodeScheduleNextTrigger Get-PodeScheduleProcess
Get-PodeScopedVariable Get-PodeSemaphore Get-PodeServerActiveRequestMetric Get-PodeServerActiveSignalClientMetric Get-PodeServerActiveSignalMetric
Get-PodeServerActiveSseClientMetric Get-PodeServerActiveSseMetric Get-PodeServerDefaultSecret Get-PodeServerName Get-PodeServerRequestMetric
Get-PodeServerRestartCount Get-PodeServerSignalMetric Get-PodeServerState Get-PodeServerUptime Get-PodeSessionDuration Get-PodeSessionExpiry
Get-PodeSessionId Get-PodeSessionInfo Get-PodeSessionTabId Get-PodeSignalBroadcastLevel Get-PodeSignalClientIdList Get-PodeSignalDefaultScope
Get-PodeSignalEvent Get-PodeSignalGroupList Get-PodeSignalNameList Get-PodeSignalRoute Get-PodeSseBroadcastLevel Get-PodeSseClientIdList
Get-PodeSseDefaultScope Get-PodeSseEvent Get-PodeSseGroupList Get-PodeSseNameList Get-PodeStaticRoute Get-PodeTask Get-PodeTaskProcess Get-PodeTimer
Get-PodeTimestamp Get-PodeVerb Get-PodeVersion Hide-PodeSecurityServer Import-PodeSnapin Initialize-PodeCsrf Invoke-PodeGC Invoke-PodeSchedule
Invoke-PodeScriptBlock Invoke-PodeTask Invoke-PodeTimer Merge-PodeAccess Merge-PodeAuth Merge-PodeJsonSchema Merge-PodeOAProperty
Merge-PodeScriptblockArguments New-PodeAccessScheme New-PodeAuthAzureADScheme New-PodeAuthKeyTab New-PodeAuthScheme New-PodeAuthTwitterScheme
New-PodeCron New-PodeCsrfToken New-PodeJsonSchemaArray New-PodeJsonSchemaBoolean New-PodeJsonSchemaInteger New-PodeJsonSchemaNull
New-PodeJsonSchemaNumber New-PodeJsonSchemaObject New-PodeJsonSchemaProperty New-PodeJsonSchemaString New-PodeLimitEndpointComponent
New-PodeLimitHeaderComponent New-PodeLimitIPComponent New-PodeLimitMethodComponent New-PodeLimitRouteComponent New-PodeLogApiMethod
New-PodeLogApiOverride New-PodeLogAwsMethod New-PodeLogAwsOverride New-PodeLogAzureMethod New-PodeLogAzureOverride New-PodeLogBatchInfo
New-PodeLogCustomMethod New-PodeLogCustomOverride New-PodeLogDatadogMethod New-PodeLogDatadogOverride New-PodeLogEventViewerMethod
New-PodeLogEventViewerOverride New-PodeLogFileOverride New-PodeLogNetworkMethod New-PodeLogNetworkOverride New-PodeLogSplunkMethod
New-PodeLogSplunkOverride New-PodeLogSyslogInfo New-PodeLogTerminalOverride New-PodeLogW3CInfo New-PodeMcpAudioContent New-PodeMcpImageContent
New-PodeMcpTextContent New-PodeMiddleware New-PodeMutex New-PodeOABoolProperty New-PodeOAComponentSchemaProperty New-PodeOAContentMediaType
New-PodeOAEncodingObject New-PodeOAExample New-PodeOAExternalDoc New-PodeOAIntProperty New-PodeOAMultiTypeProperty New-PodeOANumberProperty
New-PodeOAObjectProperty New-PodeOARequestBody New-PodeOAResponse New-PodeOAResponseLink New-PodeOASchemaProperty New-PodeOAServerEndpoint
New-PodeOAStringProperty New-PodeSemaphore New-PodeSignalClientId New-PodeSseClientId New-PodeStateBag New-PodeStateDictionary New-PodeStateList
New-PodeStateOrderedDictionary New-PodeStateSet Out-PodeVariable Pode Protect-PodeLogItem Protect-PodeValue Read-PodeTcpClient Register-PodeAuthEvent
Register-PodeEvent Register-PodeMcpToolToGroup Register-PodeSignalEvent Register-PodeSseEvent Remove-PodeAccess Remove-PodeAuth Remove-PodeBodyParser
Remove-PodeCache Remove-PodeCacheStorage Remove-PodeFavicon Remove-PodeFileWatcher Remove-PodeFlashMessage Remove-PodeHandler
Remove-PodeLimitAccessRule Remove-PodeLimitRateRule Remove-PodeLockable Remove-PodeLogger Remove-PodeLogMethod Remove-PodeLogType Remove-PodeMcpGroup
Remove-PodeMcpTool Remove-PodeMiddleware Remove-PodeMutex Remove-PodeOAComponent Remove-PodeOAResponse Remove-PodeSchedule Remove-PodeScopedVariable
Remove-PodeSecurity Remove-PodeSecurityAccessControl Remove-PodeSecurityContentSecurityPolicy Remove-PodeSecurityContentTypeOptions
Remove-PodeSecurityCrossOrigin Remove-PodeSecurityFrameOptions Remove-PodeSecurityHeader Remove-PodeSecurityPermissionsPolicy
Remove-PodeSecurityReferrerPolicy Remove-PodeSecurityStrictTransportSecurity Remove-PodeSemaphore Remove-PodeSession Remove-PodeSignalRoute
Remove-PodeStaticRoute Remove-PodeTask Remove-PodeTimer Remove-PodeVerb Remove-PodeWebSocket Rename-PodeOADefinitionTag Reset-PodeSessionExpiry
Reset-PodeWebSocket Resolve-PodeMcpRequest Resolve-PodeValue Restart-PodeServer Restart-PodeTaskProcess Resume-PodeServer Save-PodeRequestFile
Save-PodeSession Select-PodeOADefinition Send-PodeResponse Send-PodeSignal Send-PodeSseEvent Send-PodeWebSocket Set-PodeCache
Set-PodeCacheDefaultStorage Set-PodeCacheDefaultTtl Set-PodeCookieSecret Set-PodeCurrentRunspaceName Set-PodeDefaultFolder Set-PodeEnvironmentVariable
Set-PodeLogDefaultFormat Set-PodeLogDefaultSerialiseFormat Set-PodeLogDefaultSyslogFormat Set-PodeOARequest Set-PodeOARouteInfo
Set-PodeResponseAttachment Set-PodeRouteIfExistsPreference Set-PodeScheduleConcurrency Set-PodeSecurity Set-PodeSecurityAccessControl
Set-PodeSecurityContentSecurityPolicy Set-PodeSecurityContentTypeOptions Set-PodeSecurityCrossOrigin Set-PodeSecurityFrameOptions
Set-PodeSecurityPermissionsPolicy Set-PodeSecurityReferrerPolicy Set-PodeSecurityStrictTransportSecurity Set-PodeSignalBroadcastLevel
Set-PodeSignalDefaultScope Set-PodeSseBroadcastLevel Set-PodeSseDefaultScope Set-PodeTaskConcurrency Set-PodeViewEngine Set-PodeWebSocketConcurrency
Show-PodeGui Show-PodeSecurityServer Start-PodeSleep Start-PodeStaticServer Start-PodeStopwatch Suspend-PodeServer Test-PodeAccess
Test-PodeAccessExists Test-PodeAccessRoute Test-PodeAccessUser Test-PodeAuth Test-PodeAuthEvent Test-PodeAuthExists Test-PodeAuthUser Test-PodeCache
Test-PodeCacheStorage Test-PodeConfigEnabled Test-PodeCookieSigned Test-PodeEnvironmentVariable Test-PodeEvent Test-PodeFavicon Test-PodeFileWatcher
Test-PodeFlashMessage Test-PodeHeaderSigned Test-PodeInRunspace Test-PodeIsEmpty Test-PodeIsHeroku Test-PodeIsHosted Test-PodeIsIIS Test-PodeIsMacOS
Test-PodeIsPSCore Test-PodeIsUnix Test-PodeIsWindows Test-PodeJwt Test-PodeLimitAccessRule Test-PodeLimitRateRule Test-PodeLockable Test-PodeMcpGroup
Test-PodeMcpTool Test-PodeMiddleware Test-PodeMutex Test-PodeOAComponent Test-PodeOADefinition Test-PodeOADefinitionTag Test-PodeOAEnabled
Test-PodeOAJsonSchemaCompliance Test-PodeOAVersion Test-PodeRequestFile Test-PodeSchedule Test-PodeScopedVariable Test-PodeSemaphore
Test-PodeServerState Test-PodeSessionScopeIsBrowser Test-PodeSessionsEnabled Test-PodeSignalBroadcastLevel Test-PodeSignalClientId
Test-PodeSignalClientIdSigned Test-PodeSignalClientIdValid Test-PodeSignalEvent Test-PodeSignalName Test-PodeSignalRoute Test-PodeSseBroadcastLevel
Test-PodeSseClientId Test-PodeSseClientIdSigned Test-PodeSseClientIdValid Test-PodeSseEvent Test-PodeSseName Test-PodeStaticRoute
Test-PodeTaskCompleted Test-PodeTaskFailed Test-PodeTimer Test-PodeWebSocket Unregister-PodeAuthEvent Unregister-PodeEvent
Unregister-PodeMcpToolFromGroup Unregister-PodeSignalEvent Unregister-PodeSseEvent Update-PodeLimitAccessRule Update-PodeLimitRateRule
Update-PodeMcpTool Use-PodeAccess Use-PodeAuth Use-PodeEndware Use-PodeEvents Use-PodeFileWatchers Use-PodeHandlers Use-PodeLogging Use-PodeMiddleware
Use-PodeMutex Use-PodePartialView Use-PodeRoutes Use-PodeSchedules Use-PodeScopedVariables Use-PodeSemaphore Use-PodeStream Use-PodeTasks
Use-PodeTimers Use-PodeVerbs Wait-PodeDebugger Wait-PodeTask Write-PodeDirectoryResponse Write-PodeFileResponse Write-PodeLog
Write-PodeMarkdownResponse Write-PodeTcpClient Write-PodeViewResponse Write-PodeYamlResponse
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

# A piece of a script that is not served, and what to use instead.
function New-ScriptProblem([string] $Message, $Extent) {
    [ordered]@{ id = 'PodeNotSupported'; message = $Message; position = [ordered]@{ script = [string]$Extent.File; line = $Extent.StartLineNumber; column = $Extent.StartColumnNumber } }
}

# An error that names all problems of a script.
function New-ScriptProblemError([object[]] $Problems) {
    $record = New-CommandError (@($Problems).ForEach({ "$($_['position']['script']):$($_['position']['line']): $($_['message'])" }) -join "`n") $Problems[0]['id'] 'NotImplemented'
    $record.Exception.Data['SecretBridge.Problems'] = $Problems
    $record.Exception.Data['SecretBridge.Fault'] = $Problems[0]
    $record
}

# Everything of Pode in a script that is not here.
function Find-ScriptProblem($Tree, $Own = [System.Collections.Generic.HashSet[string]]::new([StringComparer]::OrdinalIgnoreCase)) {
    Add-OwnFunction $Tree $Own
    $unsupported = [System.Collections.Generic.HashSet[string]]::new([string[]]$script:UnsupportedNames, [StringComparer]::OrdinalIgnoreCase)
    $here = $ExecutionContext.SessionState.Module.ExportedCommands
    foreach ($command in $Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.CommandAst] }, $true)) {
        $name = $command.GetCommandName()
        if (-not $name) { continue }
        $name = $name -replace '^Pode\\', ''
        if ($Own.Contains($name) -or ($name -notmatch '^[A-Za-z]+-Pode[A-Za-z]+$' -and $name -ne 'Pode')) { continue }
        if ($unsupported.Contains($name)) { New-ScriptProblem (New-UnsupportedError $name).Exception.Message $command.Extent; continue }
        $known = $here[$name]
        if ($null -ne $known) { Find-ParameterProblem $command $known }
        elseif ($name -notmatch '-PodeWeb' -and -not (Test-OtherCommand $name)) {
            New-ScriptProblem "$name is no command that secretbridge has (hint: $(Get-Remedy $name))" $command.Extent
        }
    }
    foreach ($variable in $Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.VariableExpressionAst] }, $true)) {
        if ($variable.VariablePath.DriveName -in 'session', 'cache') {
            New-ScriptProblem "`$$($variable.VariablePath.DriveName): is not here (hint: `$state: is)" $variable.Extent
        }
        if ($variable.VariablePath.UserPath -eq 'PodeContext') {
            New-ScriptProblem '$PodeContext is Pode''s inside, which secretbridge does not have (hint: Get-PodeConfig, Get-PodeServerPath, $state:)' $variable.Extent
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

# The script files that a script names in full: `. ./lib.ps1`, `Use-PodeScript -Path ./lib.ps1`.
function Get-NamedScript($Tree, [string] $Folder) {
    foreach ($text in $Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.StringConstantExpressionAst] -or $n -is [System.Management.Automation.Language.ExpandableStringExpressionAst] }, $true)) {
        $name = $text.Value -replace '^\$(script:)?PSScriptRoot[\\/]+'
        if ($name -notlike '*.ps1' -or $name.IndexOfAny([char[]]'$*?') -ge 0) { continue }
        $path = [System.IO.Path]::GetFullPath($name, $Folder)
        if ([System.IO.File]::Exists($path)) { $path }
    }
}

# A script and the files that it names, as syntax trees with the problems of parsing them. Nothing of it runs.
function Get-ScriptTree([string] $Path, $Seen = [System.Collections.Generic.HashSet[string]]::new()) {
    if (-not $Seen.Add($Path)) { return }
    $problems = $null
    $tree = [System.Management.Automation.Language.Parser]::ParseFile($Path, [ref]$null, [ref]$problems)
    @{ Tree = $tree; Problems = @($problems) }
    foreach ($file in Get-NamedScript $tree ([System.IO.Path]::GetDirectoryName($Path))) { Get-ScriptTree $file $Seen }
}

# All problems of a script and of the files that it names.
function Find-ScriptFileProblem([object[]] $Files) {
    $own = [System.Collections.Generic.HashSet[string]]::new([StringComparer]::OrdinalIgnoreCase)
    foreach ($file in $Files) { Add-OwnFunction $file.Tree $own }
    $all = foreach ($file in $Files) {
        foreach ($problem in $file.Problems) {
            $found = New-ScriptProblem "$($problem.Message) (hint: the script does not parse here)" $problem.Extent
            $found['id'] = $problem.ErrorId
            $found
        }
        if ($file.Problems.Length -eq 0) { Find-ScriptProblem $file.Tree $own }
    }
    $all | Sort-Object -Stable -Property { $_['position']['script'] }, { $_['position']['line'] }, { $_['position']['column'] }
}

function Add-OwnFunction($Tree, $Own) {
    foreach ($function in $Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.FunctionDefinitionAst] }, $true)) { $null = $Own.Add($function.Name) }
}

# The environment variables that a script and the files that it names read and never set. Those that every
# process has are none.
function Find-NeededVariable([object[]] $Files) {
    $usual = '^(PATH|HOME|USERPROFILE|APPDATA|LOCALAPPDATA|PROGRAMDATA|TEMP|TMP|TMPDIR|USER|USERNAME|USERDOMAIN|COMPUTERNAME|HOSTNAME|OS|PWD|SHELL|LANG|SYSTEMROOT|WINDIR|PSMODULEPATH|PODE_ENVIRONMENT|POWERSHELL_.*)$'
    $names = foreach ($file in $Files) {
        foreach ($variable in $file.Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.VariableExpressionAst] -and $n.VariablePath.DriveName -eq 'env' }, $true)) {
            if ($variable.Parent -isnot [System.Management.Automation.Language.AssignmentStatementAst] -or -not [object]::ReferenceEquals($variable.Parent.Left, $variable)) { $variable.VariablePath.UserPath.Substring(4) }
        }
        foreach ($call in $file.Tree.FindAll({ param($n) $n -is [System.Management.Automation.Language.InvokeMemberExpressionAst] -and $n.Static -and $n.Member.Extent.Text -eq 'GetEnvironmentVariable' }, $true)) {
            if ($call.Arguments.Count -and $call.Arguments[0] -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $call.Arguments[0].Value }
        }
    }
    $names | Where-Object { $_ -and $_ -notmatch $usual } | Sort-Object -Unique
}

# A parameter that the command has not, written in full or short.
function Find-ParameterProblem($Command, $Known) {
    if ($Known.CommandType -eq 'Alias') { $Known = $Known.ResolvedCommand }
    $names = @(foreach ($parameter in $Known.Parameters.Values) { $parameter.Name; $parameter.Aliases })
    foreach ($element in $Command.CommandElements) {
        if ($element -isnot [System.Management.Automation.Language.CommandParameterAst]) { continue }
        $given = $element.ParameterName
        if ($names.Where({ $_.StartsWith($given, [StringComparison]::OrdinalIgnoreCase) }, 'First').Count) { continue }
        $remedy = foreach ($key in $script:ParameterRemedies.Keys) { if ($key.StartsWith($given, [StringComparison]::OrdinalIgnoreCase)) { $script:ParameterRemedies[$key]; break } }
        if (-not $remedy) { $remedy = if ($given -like 'OA*') { 'describe the routes in a file of your own' } else { 'docs/pode.md lists the parameters' } }
        New-ScriptProblem "$($Known.Name) has no parameter -$given here (hint: $remedy)" $element.Extent
    }
}
