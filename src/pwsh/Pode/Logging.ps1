# Logging, in both of Pode's spellings. Where the lines go is the core's.

Set-StrictMode -Version Latest

function New-LogMethod([string] $Kind, [string] $Path, [string] $Name) {
    $method = @{ Terminal = $Kind -eq 'terminal' }
    if ($Kind -eq 'file') { $method['File'] = [System.IO.Path]::Combine([System.IO.Path]::GetFullPath($Path, $script:Bridge.Root ?? [Environment]::CurrentDirectory), "$Name.log") }
    $method
}

<#
.SYNOPSIS
Where log lines go: the terminal, or a file.
#>
function New-PodeLoggingMethod {
    [CmdletBinding(DefaultParameterSetName = 'Terminal')]
    [OutputType([hashtable])]
    param(
        [Parameter(ParameterSetName = 'Terminal')] [switch] $Terminal,
        [Parameter(ParameterSetName = 'File')] [switch] $File,
        [Parameter(ParameterSetName = 'File')] [string] $Path = './logs',
        [Parameter(Mandatory, ParameterSetName = 'File')] [string] $Name
    )
    New-LogMethod $PSCmdlet.ParameterSetName.ToLowerInvariant() $Path $Name
}

<#
.SYNOPSIS
Log lines on the terminal.
#>
function New-PodeLogTerminalMethod {
    [CmdletBinding()]
    [OutputType([hashtable])]
    param()
    New-LogMethod 'terminal' '' ''
}

<#
.SYNOPSIS
Log lines in a file.
#>
function New-PodeLogFileMethod {
    [CmdletBinding()]
    [OutputType([hashtable])]
    param([string] $Path = './logs', [Parameter(Mandatory)] [string] $Name)
    New-LogMethod 'file' $Path $Name
}

function Enable-Log([string] $Kind, $Method, [string[]] $Levels) {
    foreach ($one in $Method) {
        $what = [ordered]@{ do = 'logging'; kind = $Kind; levels = @($Levels.Where({ $_ }).ForEach({ $_.ToLowerInvariant() })); terminal = [bool]$one['Terminal'] }
        if ($one['File']) { $what['file'] = $one['File'] }
        $null = Request-Core $what
    }
}

<#
.SYNOPSIS
Logs errors of script blocks.
#>
function Enable-PodeLogErrorType {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory, ValueFromPipeline)] [hashtable[]] $Method,
        [Alias('Level')] [ValidateSet('Emergency', 'Alert', 'Critical', 'Error', 'Warning', 'Notice', 'Informational', 'Verbose', 'Debug', '*')] [string[]] $Levels = @('Error')
    )
    process { Enable-Log 'error' $Method $Levels }
}

<#
.SYNOPSIS
Logs requests.
#>
function Enable-PodeLogRequestType {
    [CmdletBinding()]
    param([Parameter(Mandatory, ValueFromPipeline)] [hashtable[]] $Method)
    process { Enable-Log 'request' $Method @() }
}

Set-Alias -Name 'Enable-PodeErrorLogging' -Value 'Enable-PodeLogErrorType'
Set-Alias -Name 'Enable-PodeRequestLogging' -Value 'Enable-PodeLogRequestType'

<#
.SYNOPSIS
Writes to the error log.
#>
function Write-PodeErrorLog {
    [CmdletBinding(DefaultParameterSetName = 'Exception')]
    param(
        [Parameter(Mandatory, ValueFromPipeline, Position = 0, ParameterSetName = 'Exception')] [System.Exception] $Exception,
        [Parameter(Mandatory, ValueFromPipeline, ParameterSetName = 'Error')] [System.Management.Automation.ErrorRecord] $ErrorRecord,
        [Parameter(Mandatory, ValueFromPipeline, ParameterSetName = 'Message')] [string] $Message,
        [ValidateSet('Emergency', 'Alert', 'Critical', 'Error', 'Warning', 'Notice', 'Informational', 'Verbose', 'Debug')] [string] $Level = 'Error',
        [hashtable] $Metadata,
        [Parameter(ParameterSetName = 'Exception')] [switch] $CheckInnerException
    )
    process {
        $text = switch ($PSCmdlet.ParameterSetName) {
            'Error' {
                $fault = [SecretBridge.ScriptFaults]::Of($ErrorRecord)
                "$($fault['message'])$(if ($fault.Contains('position')) { " ($($fault['position']['script']):$($fault['position']['line']))" })"
            }
            'Exception' { "$($Exception.GetType().FullName): $($Exception.Message)" }
            'Message' { $Message }
        }
        if ($CheckInnerException -and $Exception.InnerException) { $text += " <- $($Exception.InnerException.Message)" }
        if ($Metadata) { $text += " $([SecretBridge.Pode.ResponseJson]::Write($Metadata, 5, $true))" }
        $word = switch ($Level) {
            { $_ -in 'Emergency', 'Alert', 'Critical' } { 'error' }
            { $_ -in 'Notice', 'Informational' } { 'information' }
            default { $Level.ToLowerInvariant() }
        }
        $null = Request-Core ([ordered]@{ do = 'log'; level = $word; message = [SecretBridge.Redaction]::Hide($text) })
    }
}

<#
.SYNOPSIS
Writes to the terminal the server was started on.
#>
function Out-PodeHost {
    [CmdletBinding()]
    param([Parameter(Position = 0, ValueFromPipeline)] [AllowNull()] [object] $InputObject)
    process { Write-ScriptLog 'information' ($InputObject | Out-String).TrimEnd() }
}

<#
.SYNOPSIS
Writes to the terminal the server was started on.
#>
function Write-PodeHost {
    [CmdletBinding()]
    param(
        [Parameter(Position = 0, ValueFromPipeline)] [AllowNull()] [Alias('Message')] [object] $Object,
        [switch] $NoNewLine,
        [System.ConsoleColor] $ForegroundColor, [switch] $Explode, [switch] $ShowType, [switch] $Timestamp, [string] $Label, [switch] $Force
    )
    process {
        $text = if ($Explode) { ($Object | Out-String).TrimEnd() } else { [string]$Object }
        if ($ShowType -and $null -ne $Object) { $text = "[$($Object.GetType().Name)] $text" }
        if ($Label) { $text = "${Label}: $text" }
        Write-ScriptLog 'information' $text
    }
}
