<#
.SYNOPSIS
Makes the help of the worker's compiled commands: MAML from the comments in their sources.

.DESCRIPTION
Get-Help reads it from beside the assembly. Synopsis, parameters and example come from the comments of the C# classes, syntax
from the compiled commands themselves. tests/pwsh/Pode.Commands.Tests.ps1 compares what this makes with what is committed.

.PARAMETER Assembly
The compiled worker; its folder has the sources too.

.EXAMPLE
pwsh -File scripts/help.ps1 -Assembly folder/SecretBridge.dll > src/pwsh/SecretBridge.dll-Help.xml
#>
[CmdletBinding()]
[OutputType([string])]
param([Parameter(Mandatory)] [string] $Assembly)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$maml = 'http://schemas.microsoft.com/maml/2004/10'
$command = 'http://schemas.microsoft.com/maml/dev/command/2004/10'
$dev = 'http://schemas.microsoft.com/maml/dev/2004/10'

# The text of a comment's element; nothing where it is not there.
function Get-CommentText([string] $Comment, [string] $Element) {
    $found = [regex]::Match($Comment, "(?s)<$Element>(.*?)</$Element>")
    if (-not $found.Success) { return '' }
    # `<see cref="A.B"/>` is B.
    $text = [regex]::Replace($found.Groups[1].Value, '<see cref="(?:[\w.]*\.)?(\w+)[^"]*"\s*/>', '$1')
    [System.Net.WebUtility]::HtmlDecode(($text -replace '\s+', ' ').Trim())
}

# The comment that stands right before a place.
function Get-CommentBefore([string] $Source, [int] $At) {
    $lines = $Source.Substring(0, $At).Split("`n")
    $comment = [System.Collections.Generic.List[string]]::new()
    for ($i = $lines.Length - 1; $i -ge 0; $i--) {
        $line = $lines[$i].Trim()
        if ($line.StartsWith('///', [StringComparison]::Ordinal)) { $comment.Insert(0, $line.Substring(3)) }
        elseif ($line.Length -and -not $line.StartsWith('[', [StringComparison]::Ordinal)) { break }
        elseif ($comment.Count) { break }
    }
    $comment -join "`n"
}

# The comments of a class and of its properties, those of the classes that it stands on included.
function Get-ClassComment([type] $Type, [hashtable] $Sources) {
    $found = @{}
    for ($at = $Type; $null -ne $at -and $at.Assembly -eq $Type.Assembly; $at = $at.BaseType) {
        foreach ($source in $Sources.Values) {
            $class = [regex]::Match($source, "(?m)^public (sealed |abstract )?class $($at.Name)\b.*$")
            if (-not $class.Success) { continue }
            if (-not $found.ContainsKey('')) { $found[''] = Get-CommentBefore $source $class.Index }
            $end = [regex]::Match($source.Substring($class.Index), '(?m)^}')
            foreach ($property in [regex]::Matches($source.Substring($class.Index, $end.Index), '(?m)^    public (?:virtual |override )?[\w\[\]?<>, ]+ (\w+) \{')) {
                $name = $property.Groups[1].Value
                if (-not $found.ContainsKey($name)) { $found[$name] = Get-CommentText (Get-CommentBefore $source ($class.Index + $property.Index)) 'summary' }
            }
        }
    }
    $found
}

function Write-Text([System.Xml.XmlWriter] $Writer, [string] $Namespace, [string] $Name, [string] $Text) {
    $Writer.WriteStartElement($Name, $Namespace)
    $Writer.WriteElementString('para', $maml, $Text)
    $Writer.WriteEndElement()
}

function Write-Parameter([System.Xml.XmlWriter] $Writer, $Parameter, [hashtable] $Comments) {
    $Writer.WriteStartElement('parameter', $command)
    $Writer.WriteAttributeString('required', ([string]$Parameter.IsMandatory).ToLowerInvariant())
    $pipeline = if ($Parameter.ValueFromPipeline) { 'true (ByValue)' } elseif ($Parameter.ValueFromPipelineByPropertyName) { 'true (ByPropertyName)' } else { 'false' }
    $Writer.WriteAttributeString('pipelineInput', $pipeline)
    $Writer.WriteAttributeString('position', $(if ($Parameter.Position -ge 0) { [string]$Parameter.Position } else { 'named' }))
    $Writer.WriteAttributeString('aliases', $(if ($Parameter.Aliases.Count) { $Parameter.Aliases -join ', ' } else { 'none' }))
    $Writer.WriteElementString('name', $maml, $Parameter.Name)
    $comment = if ($Comments.ContainsKey($Parameter.Name)) { $Comments[$Parameter.Name] } else { '' }
    Write-Text $Writer $maml 'description' $comment
    if ($Parameter.ParameterType -ne [switch]) {
        $Writer.WriteStartElement('parameterValue', $command)
        $Writer.WriteAttributeString('required', 'true')
        $Writer.WriteString($Parameter.ParameterType.Name)
        $Writer.WriteEndElement()
    }
    $Writer.WriteEndElement()
}

function Write-Command([System.Xml.XmlWriter] $Writer, [System.Management.Automation.CmdletInfo] $Cmdlet, [hashtable] $Sources) {
    $comments = Get-ClassComment $Cmdlet.ImplementingType $Sources
    $common = [System.Management.Automation.Cmdlet]::CommonParameters
    $Writer.WriteStartElement('command', 'command', $command)
    $Writer.WriteStartElement('details', $command)
    $Writer.WriteElementString('name', $command, $Cmdlet.Name)
    $Writer.WriteElementString('verb', $command, $Cmdlet.Verb)
    $Writer.WriteElementString('noun', $command, $Cmdlet.Noun)
    $summary = Get-CommentText $comments[''] 'summary'
    Write-Text $Writer $maml 'description' $summary
    $Writer.WriteEndElement()
    $remarks = Get-CommentText $comments[''] 'remarks'
    Write-Text $Writer $maml 'description' $(if ($remarks) { $remarks } else { $summary })
    $Writer.WriteStartElement('syntax', $command)
    $all = [System.Collections.Specialized.OrderedDictionary]::new()
    foreach ($set in $Cmdlet.ParameterSets) {
        $Writer.WriteStartElement('syntaxItem', $command)
        $Writer.WriteElementString('name', $maml, $Cmdlet.Name)
        # Positional ones first, in their order; the others as the class has them.
        $own = @($set.Parameters).Where({ $_.Name -notin $common })
        foreach ($parameter in @($own.Where({ $_.Position -ge 0 }) | Sort-Object -Property Position) + @($own.Where({ $_.Position -lt 0 }))) {
            Write-Parameter $Writer $parameter $comments
            if (-not $all.Contains($parameter.Name)) { $all[$parameter.Name] = $parameter }
        }
        $Writer.WriteEndElement()
    }
    $Writer.WriteEndElement()
    $Writer.WriteStartElement('parameters', $command)
    foreach ($parameter in $all.Values) { Write-Parameter $Writer $parameter $comments }
    $Writer.WriteEndElement()
    $Writer.WriteStartElement('examples', $command)
    $Writer.WriteStartElement('example', $command)
    $Writer.WriteElementString('title', $maml, 'Example 1')
    $Writer.WriteElementString('code', $dev, (Get-CommentText $comments[''] 'example'))
    Write-Text $Writer $dev 'remarks' $summary
    $Writer.WriteEndElement()
    $Writer.WriteEndElement()
    $Writer.WriteEndElement()
}

$full = [System.IO.Path]::GetFullPath($Assembly, (Get-Location).ProviderPath)
$module = Import-Module -Assembly ([System.Reflection.Assembly]::LoadFrom($full)) -PassThru
$sources = @{}
foreach ($file in [System.IO.Directory]::GetFiles([System.IO.Path]::GetDirectoryName($full), '*.cs', 'AllDirectories')) { $sources[$file] = [System.IO.File]::ReadAllText($file).Replace("`r`n", "`n") }
$text = [System.IO.StringWriter]::new([cultureinfo]::InvariantCulture)
$settings = [System.Xml.XmlWriterSettings]@{ Indent = $true; NewLineChars = "`n"; OmitXmlDeclaration = $true }
$writer = [System.Xml.XmlWriter]::Create($text, $settings)
$writer.WriteStartElement('helpItems', 'http://msh')
$writer.WriteAttributeString('schema', 'maml')
foreach ($prefix in @(@('maml', $maml), @('command', $command), @('dev', $dev))) { $writer.WriteAttributeString('xmlns', $prefix[0], $null, $prefix[1]) }
$names = [string[]]@($module.ExportedCmdlets.Keys)
[Array]::Sort($names, [StringComparer]::Ordinal)
foreach ($name in $names) { Write-Command $writer $module.ExportedCmdlets[$name] $sources }
$writer.WriteEndElement()
$writer.Dispose()
"<?xml version=`"1.0`" encoding=`"utf-8`"?>`n$text"
