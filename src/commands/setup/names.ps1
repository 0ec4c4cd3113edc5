
    # Vaults and keys, by the program itself. Nothing where no name may stand, or where the program does not answer.
    $names = @(& {
        Set-StrictMode -Version 3.0
        $before = @(
            foreach ($element in $commandAst.CommandElements) {
                if ($element.Extent.EndOffset -lt $cursorPosition) {
                    if ($element -is [StringConstantExpressionAst]) { $element.Value } else { $element.Extent.Text }
                }
            }
        )
        $following = @($before | Select-Object -Skip 1)
        # It is the session's own, and nothing has run as far as its user knows.
        $code = Get-Variable -Name LASTEXITCODE -Scope Global -ValueOnly -ErrorAction Ignore
        try {
            & $before[0] 'complete-names' "--word=$wordToComplete" '--' @following 2>$null
        }
        catch {
            return
        }
        finally {
            $global:LASTEXITCODE = $code
        }
    })
    if ($names.Count -gt 0) {
        return $names | ForEach-Object {
            $text = if ($_ -match '^\w[\w./:=#%-]*$') { $_ } else { "'" + ($_ -replace "'", "''") + "'" }
            [CompletionResult]::new($text, $_, [CompletionResultType]::ParameterValue, $_)
        }
    }
