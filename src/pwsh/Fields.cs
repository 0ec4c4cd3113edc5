using System.Collections;

namespace SecretBridge;

/// <summary>Fields of a call, by name and type.</summary>
public static class Fields
{
    /// <summary>A field that must be a string.</summary>
    public static string Text(IDictionary fields, string name) =>
        PlainJson.Bare(fields[name]) as string ?? throw new BridgeException("BadCall", $"the field '{name}' is missing or no string");

    /// <summary>A field that must be an object.</summary>
    public static IDictionary Object(IDictionary fields, string name) =>
        PlainJson.Bare(fields[name]) as IDictionary ?? throw new BridgeException("BadCall", $"the field '{name}' is missing or no object");

    /// <summary>A flag that is false where it is missing.</summary>
    public static bool Flag(IDictionary fields, string name) => PlainJson.Bare(fields[name]) is true;
}
