using System;
using System.Collections;
using System.Collections.Specialized;
using System.Management.Automation;
using System.Security;

namespace SecretBridge.Pode;

/// <summary>Values of secrets, as scripts give and get them.</summary>
public static class SecretValues
{
    private const string Types = "String, SecureString, HashTable, Byte[], or PSCredential";

    /// <summary>Select-Object -ExpandProperty and -Property, for what is no table: the value and the names.</summary>
    public static Func<object?, object?, object?>? Expand { get; set; }

    /// <summary>See <see cref="Expand"/>.</summary>
    public static Func<object?, object?, object?>? Select { get; set; }

    /// <summary>A value to store, as it travels; a member that no vault can hold is named.</summary>
    public static OrderedDictionary Tag(object? value)
    {
        object stored = ToStore(value);
        Portable.Note(stored);
        if (Values.TryTag(stored, false, out _) is OrderedDictionary tag)
        {
            return tag;
        }
        foreach (DictionaryEntry entry in (IDictionary)stored)
        {
            if (Values.TryTag(entry.Value, false, out _) is null)
            {
                throw Invalid($"But the member '{entry.Key}' is: {PlainJson.TypeOf(entry.Value)?.Name}");
            }
        }
        throw Invalid($"But got: {PlainJson.TypeOf(stored)?.Name}");
    }

    /// <summary>What the core answered to a read, with what it left to project: only PowerShell can look into all values.</summary>
    public static object? Project(IDictionary answer)
    {
        object? value = Portable.Untag((IDictionary)answer["value"]!);
        Portable.Note(value);
        // A table's members count as properties, whatever kind of table it is.
        IDictionary? table = PlainJson.Bare(value) as IDictionary;
        if (answer["expand"] is string { Length: > 0 } expand)
        {
            object? member = table is not null ? table[expand] : Expand?.Invoke(value, expand);
            Portable.Note(member);
            return member;
        }
        if (answer["property"] is not object?[] { Length: > 0 } properties)
        {
            return value;
        }
        if (table is null)
        {
            return Select?.Invoke(value, properties);
        }
        PSObject shown = new();
        foreach (object? property in properties)
        {
            string name = PlainJson.Text(property);
            shown.Properties.Add(new PSNoteProperty(name, table[name]));
        }
        return shown;
    }

    // Numbers, booleans and dates as text, ordered tables as Hashtables; bytes stay bytes.
    private static object ToStore(object? value)
    {
        switch (PlainJson.Bare(value))
        {
            case null:
                return "";
            case ValueType plain:
                return plain.ToString() ?? "";
            case IDictionary members:
                Hashtable table = Values.NewTable();
                foreach (DictionaryEntry entry in members)
                {
                    object? member = PlainJson.Bare(entry.Value);
                    table[PlainJson.Text(entry.Key)] = member is null or ValueType or IDictionary ? ToStore(member) : member;
                }
                return table;
            case object?[] list when Values.Bytes(list) is byte[] bytes:
                return bytes;
            case object known and (string or SecureString or byte[] or PSCredential):
                return known;
            case object other:
                throw Invalid($"But got: {PlainJson.TypeOf(other)?.Name}");
        }
    }

    private static BridgeException Invalid(string but) =>
        new("InvalidSecretType", $"Secret value is of an invalid type. Expected types: {Types}. {but}", ErrorCategory.InvalidType);
}
