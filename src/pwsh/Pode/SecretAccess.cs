using System.Collections;
using System.Collections.Specialized;
using System.Management.Automation;

namespace SecretBridge.Pode;

/// <summary>
/// Secrets of a vault, for the functions that stand for SecretManagement's cmdlets: by methods, because what a command throws
/// would be in the caller's -ErrorVariable too.
/// </summary>
public static class SecretAccess
{
    /// <summary>Asks the core, after the changes of shared objects.</summary>
    public static OrderedDictionary Ask(IDictionary ask)
    {
        Shared.BeforeAsk();
        return Channel.Ask(ask) as OrderedDictionary ?? PlainJson.NewObject();
    }

    /// <summary>A secret's value, past mounts and cache.</summary>
    public static object? Read(string vault, string key) => SecretValues.Project(Ask(About("read", vault, key)));

    /// <summary>The same, with an error in place of what would be thrown.</summary>
    public static (object? Value, ErrorRecord? Error) TryRead(string vault, string key)
    {
        try
        {
            return (Read(vault, key), null);
        }
        catch (BridgeException exception)
        {
            return (null, exception.ErrorRecord);
        }
    }

    /// <summary>Removes a secret; gives the error in place of throwing it.</summary>
    public static ErrorRecord? TryRemove(string vault, string key)
    {
        try
        {
            Ask(About("remove", vault, key));
            return null;
        }
        catch (BridgeException exception)
        {
            return exception.ErrorRecord;
        }
    }

    /// <summary>Writes a secret; without metadata the present ones are kept as the vault's plan says.</summary>
    public static void Write(string vault, string key, object? value, Hashtable? metadata)
    {
        OrderedDictionary ask = About("set", vault, key);
        ask["value"] = SecretValues.Tag(value);
        if (metadata is not null)
        {
            ask["metadata"] = Metadata.Tag(metadata);
        }
        Ask(ask);
    }

    /// <summary>Writes a secret's metadata, and not its value.</summary>
    public static void WriteInfo(string vault, string key, Hashtable metadata)
    {
        OrderedDictionary ask = About("set", vault, key);
        ask["metadata"] = Metadata.Tag(metadata);
        Ask(ask);
    }

    private static OrderedDictionary About(string what, string vault, string key)
    {
        OrderedDictionary ask = PlainJson.NewObject();
        ask["do"] = what;
        ask["vault"] = vault;
        ask["key"] = key;
        ask["arguments"] = System.Array.Empty<object>();
        return ask;
    }
}
