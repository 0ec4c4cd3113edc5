# The worker: guards its descriptors, loads its module, serves until the stream ends.
# docs/protocol.md is the contract. Exit codes: 0 told to, or the stream ended; 70 the core broke the
# protocol.
#
# Never name PowerShell's automatic variable for pipeline data in this file, not even in a comment: the
# host would then drain the channel before the first line is read.

& {
    # In a scope of its own: strict mode in the global scope would reach into every vault module.
    Set-StrictMode -Version Latest
    $ErrorActionPreference = 'Stop'

    # `fcntl` and `dup2` by Reflection.Emit, because Add-Type starts a compiler (half a second).
    function New-NativeCalls {
        $access = [System.Reflection.Emit.AssemblyBuilderAccess]::Run
        $name = [System.Reflection.AssemblyName]::new('SecretBridge.Native')
        $assembly = [System.Reflection.Emit.AssemblyBuilder]::DefineDynamicAssembly($name, $access)
        $type = $assembly.DefineDynamicModule('m').DefineType('SecretBridgeNative', 'Public, Class')
        foreach ($call in @(@('fcntl', 3), @('dup2', 2))) {
            $method = $type.DefinePInvokeMethod($call[0], 'libc', 'Public, Static, PinvokeImpl', 'Standard',
                [int], ([type[]]@([int]) * $call[1]), 'Cdecl', 'Auto')
            $method.SetImplementationFlags('PreserveSig')
        }
        $type.CreateType()
    }

    # Moves the channel from 0 and 1 to private descriptors that no child inherits, and leaves
    # /dev/null and the log in their place.
    function Protect-Descriptors {
        $native = New-NativeCalls
        $duplicateAndCloseOnExec = 1030
        # From 3 up, so that a private one never lands on a standard number.
        $source = $native::fcntl(0, $duplicateAndCloseOnExec, 3)
        $sink = $native::fcntl(1, $duplicateAndCloseOnExec, 3)
        $nowhere = [System.IO.File]::OpenHandle('/dev/null')
        $moved = @(
            $source
            $sink
            $native::dup2($nowhere.DangerousGetHandle().ToInt32(), 0)
            $native::dup2(2, 1)
        )
        $nowhere.Dispose()
        if ($moved -contains -1) { throw 'the descriptors could not be moved' }
        @{
            Guarded = $true
            Source = Open-Descriptor $source 'Read'
            Sink = Open-Descriptor $sink 'Write'
        }
    }

    function Open-Descriptor([int] $Number, [System.IO.FileAccess] $Access) {
        $handle = [Microsoft.Win32.SafeHandles.SafeFileHandle]::new([IntPtr]::new($Number), $true)
        # No buffer of its own: the module reads and writes whole blocks.
        [System.IO.FileStream]::new($handle, $Access, 0, $false)
    }

    # Elsewhere only what .NET can do: output by PowerShell and .NET goes to the log, but a native
    # command still reaches the channel. The core is told by `guarded`.
    function Open-RawStreams {
        @{
            Guarded = $false
            Source = [Console]::OpenStandardInput()
            Sink = [Console]::OpenStandardOutput()
        }
    }

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

    $channel = if ($IsLinux) { Protect-Descriptors } else { Open-RawStreams }
    [Console]::SetOut([Console]::Error)
    [Console]::SetIn([System.IO.TextReader]::Null)
    Close-DebuggerSocket

    $global:ProgressPreference = 'SilentlyContinue'
    $global:ConfirmPreference = 'None'
    $PSStyle.OutputRendering = 'PlainText'

    if ($env:SECRETBRIDGE_MODULE_PATH) {
        $env:PSModulePath = $env:SECRETBRIDGE_MODULE_PATH, $env:PSModulePath -join [System.IO.Path]::PathSeparator
        $env:SECRETBRIDGE_MODULE_PATH = $null
    }
    Import-Module -Name ([System.IO.Path]::Combine($PSScriptRoot, 'SecretBridge.Worker.psm1')) -DisableNameChecking -Global
    # It belongs to the global session state, so that init scripts land there and not in the module.
    Initialize-BridgeWorker @channel -GlobalScope { . ([scriptblock]::Create($args[0])) }
}
# Not from inside the block: what is dot-sourced while its scope is open would land in that scope.
Start-BridgeWorker
exit $LASTEXITCODE
