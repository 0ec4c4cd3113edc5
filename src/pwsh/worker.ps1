# The worker: guards its descriptors, loads its module, serves until the stream ends.
# docs/protocol.md is the contract. Exit codes: 0 told to, or the stream ended; 70 the core broke the
# protocol; 78 the session is not in FullLanguage mode.
#
# Never name PowerShell's automatic variable for pipeline data in this file, not even in a comment: the
# host would then drain the channel before the first line is read.

if ($ExecutionContext.SessionState.LanguageMode -ne 'FullLanguage') {
    # All that a constrained session can do: the answer to the first call.
    "{`"reply`":{`"id`":1,`"fault`":{`"id`":`"LanguageMode`",`"kind`":`"`",`"category`":`"PermissionDenied`",`"message`":`"pwsh runs in $($ExecutionContext.SessionState.LanguageMode) mode on this host, and workers need FullLanguage mode`"}}}"
    exit 78
}

& {
    # In a scope of its own: strict mode in the global scope would reach into every vault module.
    Set-StrictMode -Version Latest
    $ErrorActionPreference = 'Stop'

    # Closes the socket on which a pwsh of before 7.6 waits for a debugger: through it any program of the
    # user could read the secrets, and a killed worker would leave it in the temporary folder.
    function Close-DebuggerSocket {
        try {
            $server = [psobject].Assembly.GetType('System.Management.Automation.Remoting.RemoteSessionNamedPipeServer')
            $fields = @{}
            foreach ($field in $server.GetFields('Static, NonPublic')) { $fields[$field.Name] = $field }
            $fields['IPCNamedPipeServerEnabled'].SetValue($null, $false)
            $listener = $fields['IPCNamedPipeServer'].GetValue($null)
            if ($null -ne $listener) { $listener.Dispose() }
        }
        catch { [Console]::Error.WriteLine('worker: the socket for debuggers stays open') }
    }

    # Before anything else may write: from here on only the compiled worker has the channel.
    $null = [System.Reflection.Assembly]::LoadFrom([System.IO.Path]::Combine($PSScriptRoot, 'SecretBridge.dll'))
    [SecretBridge.Platform]::OpenChannel()
    [Console]::SetOut([Console]::Error)
    [Console]::SetIn([System.IO.TextReader]::Null)
    Close-DebuggerSocket
    # It only saves time: an engine that is made in another way is left as it is.
    try { $null = [SecretBridge.EngineLog]::SkipDropped() }
    catch { [Console]::Error.WriteLine('worker: the engine makes lines for its log that it drops') }

    $global:ProgressPreference = 'SilentlyContinue'
    $global:ConfirmPreference = 'None'
    $PSStyle.OutputRendering = 'PlainText'

    if ($env:SECRETBRIDGE_MODULE_PATH) {
        $env:PSModulePath = $env:SECRETBRIDGE_MODULE_PATH, $env:PSModulePath -join [System.IO.Path]::PathSeparator
        $env:SECRETBRIDGE_MODULE_PATH = $null
    }
    Import-Module -Name ([System.IO.Path]::Combine($PSScriptRoot, 'SecretBridge.Worker.psm1')) -DisableNameChecking -Global
    # It belongs to the global session state, so that init scripts land there and not in the module.
    Initialize-BridgeWorker -GlobalScope { . ([scriptblock]::Create($args[0])) }
}
# Not from inside the block: what is dot-sourced while its scope is open would land in that scope.
Start-BridgeWorker
exit $LASTEXITCODE
