using System;
using System.Collections;
using System.Collections.Specialized;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>
/// A command of Pode's. It throws as Pode's functions do: a `throw`, which -ErrorAction SilentlyContinue and Ignore silence.
/// </summary>
public abstract class PodeCommand : PSCmdlet
{
    private bool _ended;

    /// <summary>What is done for each item of the pipeline, or once.</summary>
    protected virtual void Process()
    {
    }

    /// <summary>What is done at the end.</summary>
    protected virtual void End()
    {
    }

    /// <inheritdoc/>
    protected sealed override void ProcessRecord() => Guarded(Process);

    /// <inheritdoc/>
    protected sealed override void EndProcessing() => Guarded(End);

    /// <summary>An ask of this name.</summary>
    protected static OrderedDictionary NewAsk(string name)
    {
        OrderedDictionary ask = PlainJson.NewObject();
        ask["do"] = name;
        return ask;
    }

    /// <summary>Asks the core; the answer is an object.</summary>
    protected static OrderedDictionary Ask(OrderedDictionary ask) => Shared.Ask(ask);

    /// <summary>The parameter was given.</summary>
    protected bool Has(string parameter) => MyInvocation.BoundParameters.ContainsKey(parameter);

    private void Guarded(Action step)
    {
        if (_ended)
        {
            return;
        }
        try
        {
            step();
        }
        catch (BridgeException exception)
        {
            _ended = true;
            ErrorRecord record = exception.ErrorRecord;
            if (MyInvocation.BoundParameters.TryGetValue("ErrorAction", out object? action)
                && LanguagePrimitives.ConvertTo<ActionPreference>(action) is ActionPreference.SilentlyContinue or ActionPreference.Ignore)
            {
                WriteError(record);
                return;
            }
            ThrowTerminatingError(record);
        }
    }
}
